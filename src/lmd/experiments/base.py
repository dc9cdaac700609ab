"""What an experiment is made of: rows (runs), columns (metrics on a data set), and the paper's values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from lmd.experiments.paper import ARXIV, Entry, load

if TYPE_CHECKING:
    from lmd.settings import Tree

# The frequency bands of classes that a column may be the mean recall of.
BAND_NAMES = ("head", "medium", "tail")
KINDS = {
    "paper": "in the paper",
    "reconstruction": "in the paper; our reconstruction",
    "ablation": "the paper's ablation",
    "baseline": "baseline of the figure",
    "value": "a value of our choice",
    "beyond": "beyond the paper",
    "asked": "asked for",
}
_IN_THE_PAPER = {"kappa_quadratic": "kappa"}  # What the paper's tables call a metric.
Kind = Literal["paper", "reconstruction", "ablation", "baseline", "value", "beyond", "asked"]


@dataclass(frozen=True)
class Metric:
    """A column: a macro metric of `evaluation.metrics`, the recall of a frequency band, or the silhouette."""

    key: str
    title: str


@dataclass(frozen=True)
class Block:
    """The columns that belong to one data set, with the training counts by which it is the paper's."""

    key: str
    title: str
    counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Row:
    """One run of each seed and data set: a method and what it sets beyond its defaults.

    `printed` is the name of the paper's row that it repeats, `place` its value on the axis of a sweep;
    `reference` marks the run that others are compared with.
    """

    key: str
    title: str
    method: str
    settings: Tree = field(default_factory=dict[str, Any])
    kind: Kind = "paper"
    place: float | None = None
    reference: bool = False
    printed: str = ""


def in_every_budget(*rows: Row) -> Callable[[str], tuple[Row, ...]]:
    """Returns what gives these rows, whatever the budget."""
    return lambda budget: rows


@dataclass(frozen=True)
class Contrast:
    """A question that the difference between two rows answers: first - second."""

    question: str
    first: str
    second: str


@dataclass(frozen=True)
class Axis:
    """The horizontal axis of a sweep, whose rows without a place are drawn as horizontal lines.

    `seconds` asks for a second panel over the compute time; `curves` are the metrics to draw, the ranking
    alone where none is named.
    """

    title: str
    logarithmic: bool = True
    seconds: bool = False
    curves: tuple[str, ...] = ()


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper.

    `rows_of` gives the rows of a budget. `points` says which classes a projection shows where the data set
    lacks those of the paper's figure: the largest of each band, or all of the tail.
    """

    name: str
    rows_of: Callable[[str], tuple[Row, ...]]
    metrics: tuple[Metric, ...]
    ranking: str = "bacc"
    blocks: tuple[Block, ...] = (Block("data", "the given data set"),)
    contrasts: tuple[Contrast, ...] = ()
    axis: Axis | None = None
    points: Literal["largest", "tail"] | None = None
    open_rows: bool = False  # Whether --methods may add methods that the paper's table does not have.
    notes: tuple[str, ...] = ()

    @property
    def paper(self) -> Entry:
        """What the paper prints and states."""
        return load(self.name)

    @property
    def title(self) -> str:
        """The title of its page."""
        return f"{self.paper.label}: {self.paper.caption}"

    @property
    def needs_bands(self) -> bool:
        """Whether the data set has to have classes in head, medium and tail."""
        return self.points is not None or any(metric.key in BAND_NAMES for metric in self.metrics)

    def printed(self, row: Row, block: str, metric: str) -> Tree:
        """Returns the paper's value with its source, or null with what to print instead and the reason."""
        place = (row.printed, block if len(self.blocks) > 1 else "", _IN_THE_PAPER.get(metric, metric))
        found = self.paper.cells.get(place)
        if found is not None:
            source = f"{ARXIV}, {self.paper.label.lower()}"
            return {"value": found.value, "sd": found.sd, "shown": str(found), "source": source}
        if self.paper.is_table:
            return absent("not in the paper", "no row of the paper's table")
        return absent("none", "the paper's figures print no numbers")


def absent(shown: str, reason: str) -> Tree:
    """Returns a cell of the paper without a number: what is shown in its place, and why."""
    return {"value": None, "sd": None, "shown": shown, "reason": reason}
