"""What an experiment is made of: rows (runs), columns (metrics on a data set), and the paper's values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lmd.settings import Tree

# The groups of classes that a column may be the mean recall of.
GROUPS = ("head", "medium", "tail")
ABSENT = "not available here"
KINDS = {
    "paper": "in the paper's table",
    "ablation": "the paper's ablation",
    "beyond": "beyond the paper",
    "asked": "asked for",
}


@dataclass(frozen=True)
class Metric:
    """A column: a macro metric of `evaluation.metrics`, the recall of a group, or the silhouette."""

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

    `place` is its value on the axis of a sweep; `reference` marks the run that others are compared with.
    """

    key: str
    title: str
    method: str
    settings: Tree = field(default_factory=dict[str, Any])
    kind: Literal["paper", "ablation", "beyond", "asked"] = "paper"
    place: float | None = None
    reference: bool = False


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
    """The horizontal axis of a sweep; `seconds` asks for a second panel over the compute time."""

    title: str
    logarithmic: bool = True
    seconds: bool = False


@dataclass(frozen=True)
class Values:
    """The paper's values in percent, by (row, block, metric), their source, and why others are absent."""

    known: Mapping[tuple[str, str, str], float]
    source: str
    missing: str
    reasons: Mapping[tuple[str, str, str], str] = field(default_factory=dict[tuple[str, str, str], str])

    def cell(self, row: Row, block: str, metric: str) -> Tree:
        """Returns a value with its source, or null with what to print instead and the reason."""
        place = (row.key, block, metric)
        if place in self.known:
            return {"value": self.known[place], "source": self.source}
        if row.kind in ("beyond", "asked"):
            return {"value": None, "shown": "not in the paper", "reason": "no row of the paper's table"}
        return {"value": None, "shown": ABSENT, "reason": self.reasons.get(place, self.missing)}


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper.

    `rows_of` gives the rows of a budget. `points` says which classes a projection shows: the largest of
    each group, or all of the tail.
    """

    name: str
    title: str
    data: str
    rows_of: Callable[[str], tuple[Row, ...]]
    metrics: tuple[Metric, ...]
    values: Values
    ranking: str = "bacc"
    blocks: tuple[Block, ...] = (Block("data", "the given data set"),)
    contrasts: tuple[Contrast, ...] = ()
    axis: Axis | None = None
    points: Literal["largest", "tail"] | None = None
    open_rows: bool = False  # Whether --methods may add methods that the paper's table does not have.
    notes: tuple[str, ...] = ()

    @property
    def needs_groups(self) -> bool:
        """Whether the data set has to have classes in head, medium and tail."""
        return self.points is not None or any(metric.key in GROUPS for metric in self.metrics)
