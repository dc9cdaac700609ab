"""How often the intervals of an evaluation hold the truth: simulated predictions whose truth is known.

    python -m benchmarks.coverage    # benchmarks/results/coverage: a JSON file of each part, and tables

`plain` draws rows of confusion matrices; misses go to frequent classes more often. `scores` draws normal
scores, that of the true class raised so that the class has its recall, and measures them as `lmd evaluate`
does: for the AUC, and with groups of 1 to 5 images that share half of the variance of their scores. For
differences a second classifier has recalls .1 lower on the same images; its scores correlate with those of
the first by .7. n is the number of groups of the smallest class; without groups that is its images.

A cell is a metric at one size and one recall. Where it lies near the bar, or where the mean of a row does, it
is drawn again, more often and with other seeds. The new draws replace the first. So the lowest of many cells
is not one that chance made low. The bar itself has no tolerance.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lmd.evaluation.intervals.differences import paired_difference
from lmd.evaluation.intervals.influence import BY_CELL, smoothed, variance_by_class
from lmd.evaluation.intervals.measured import WHOLE, AllMetrics, value_of
from lmd.evaluation.intervals.score import Scale, quantile
from lmd.evaluation.intervals.uncertainty import Sample, needed_apart, too_few
from lmd.evaluation.metrics import all_metrics

RECALLS = (0.3, 0.5, 0.7, 0.85, 0.95, 1.0)
FINE = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 1.0)  # Of the part that takes seconds.
SIZES = (1, 2, 3, 5, 8, 10, 20, 50, 200, 500)
SEED = 0
ALIKE, CORRELATION, LOWER = 0.5, 0.7, 0.1
TRUTH = 40_000  # Images behind a true value.
LARGEST, LARGEST_GROUPED = 2_400, 800  # Groups of a simulated test set at most, but for its smallest class.
MEAN, LOWEST, LOWEST_OF_TEN = (93.0, 98.0), 82.0, 90.0  # The bar, in percent.
ONE = "recall of one class"
METRICS = ("bacc", "f1", "mcc", "kappa_unweighted", "precision", "kappa_quadratic", "auc")


class Design(NamedTuple):
    """Groups of each class, and each class's recall, for a size of the smallest class and its recall."""

    name: str
    times: tuple[float, ...]  # Groups of each class, as a multiple of the smallest.
    spread: str = "equal"

    def groups(self, size: int, largest: int = LARGEST) -> np.ndarray:
        """Returns the groups of each class [K]."""
        wanted = np.round(size * np.array(self.times)).astype(int)
        return np.maximum(np.minimum(wanted, largest // len(wanted)), min(size, wanted.min()))

    def recalls(self, recall: float) -> np.ndarray:
        """Returns the recall of each class [K]: equal, or falling from .95 to that of the rarest."""
        if recall >= 1 or self.spread == "equal":
            return np.full(len(self.times), recall)
        return np.linspace(max(recall, 0.95), recall, len(self.times))


DESIGNS = (
    Design("2 classes", (1, 1)),
    Design("8 classes", (1,) * 8),
    Design("long tail, 8 classes", (40, 20, 10, 6, 4, 2, 1, 1), "falling"),
    Design("one rare of 8 classes", (20,) * 7 + (1,), "falling"),
)


# Of each metric: how many intervals there were, and how many of them held the truth.
Found = dict[str, tuple[int, int]]


class Simulated(NamedTuple):
    """Predictions of one or two classifiers on the same images."""

    labels: np.ndarray
    clusters: np.ndarray
    scores: tuple[np.ndarray, ...]

    def measured(self) -> list[AllMetrics]:
        """Returns the metrics of each classifier."""
        sample = Sample(self.labels, self.clusters)
        return [AllMetrics(sample, scores) for scores in self.scores]


@lru_cache
def _table(classes: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    noise = random.normal(size=(20_000, classes))
    needed = np.sort(noise[:, 1:].max(1) - noise[:, 0])
    return np.linspace(0, 1, len(needed)), needed


def raise_for(recall: float, classes: int) -> float:
    """Returns by how much the score of the true class is raised for a recall among so many classes."""
    return 40.0 if recall >= 1 else float(np.interp(recall, *_table(classes)))


def simulate(
    random: np.random.Generator, groups: np.ndarray, recalls: Sequence[np.ndarray], grouped: bool
) -> Simulated:
    """Returns predictions of a classifier for each of `recalls` on the same images."""
    sizes = random.integers(1, 6, groups.sum()) if grouped else np.ones(groups.sum(), dtype=int)
    clusters = np.repeat(np.arange(groups.sum()), sizes)
    labels = np.repeat(np.arange(len(groups)), groups)[clusters]
    shape = (len(labels), len(groups))

    def noise() -> np.ndarray:
        own = random.normal(size=shape)
        if not grouped:
            return own
        shared = random.normal(size=(groups.sum(), len(groups)))[clusters]
        return np.sqrt(1 - ALIKE) * own + np.sqrt(ALIKE) * shared

    first, truth, scores = noise(), np.eye(len(groups))[labels], []
    for number, wanted in enumerate(recalls):
        mixed = first if number == 0 else np.sqrt(CORRELATION) * first + np.sqrt(1 - CORRELATION) * noise()
        raised = np.array([raise_for(recall, len(groups)) for recall in wanted])
        scores.append(mixed + raised[labels][:, None] * truth)
    return Simulated(labels, clusters, tuple(scores))


@lru_cache
def truths(of_groups: tuple[int, ...], of_recalls: tuple[float, ...]) -> dict[str, float]:
    """Returns the true values: those of many images, in the proportions of the classes."""
    groups, recalls = np.array(of_groups), np.array(of_recalls)
    many = np.maximum(groups * TRUTH // groups.sum(), 1)
    # A rare class is given as many images as others, and its images less weight: a sharper truth.
    parts = np.full(len(groups), TRUTH // len(groups))
    drawn = simulate(np.random.default_rng(2), parts, [recalls], grouped=False)
    weights = (many / parts)[drawn.labels][None]
    macro, classes = all_metrics(drawn.labels, drawn.scores[0], weights)
    found = {name: float(values[0]) for name, values in macro.items()}
    return {**found, ONE: float(classes["recall"][0, -1])}


def confusions(
    random: np.random.Generator, groups: np.ndarray, recalls: np.ndarray, repeats: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns confusion matrices [R, K, K] without groups, and the one that is expected."""
    share = np.tile(np.sqrt(groups), (len(groups), 1))
    np.fill_diagonal(share, 0)
    share = share / share.sum(1, keepdims=True) * (1 - recalls)[:, None] + np.diag(recalls)
    rows = [random.multinomial(groups[k], share[k], size=repeats) for k in range(len(groups))]
    return np.stack(rows, axis=1).astype(float), share * groups[:, None]


def plain(
    design: Design,
    size: int,
    recall: float,
    repeats: int,
    again: bool = False,
    metrics: Sequence[str] = (ONE, *METRICS[:-1]),
) -> Found:
    """Returns for each metric of the confusion matrix the intervals, and how many of them held the truth."""
    groups, recalls = design.groups(size), design.recalls(recall)
    random = np.random.default_rng([SEED, again, size, int(1000 * recall), len(design.name)])
    drawn, expected = confusions(random, groups, recalls, repeats)
    found: Found = {}
    last = np.eye(len(groups))[-1]
    for name in metrics:
        metric = {"bacc": "recall", ONE: "recall"}.get(name, name)
        if too_few(metric, groups[-1:] if name == ONE else groups):
            continue
        weights = last if name == ONE else np.full(len(groups), 1.0 if name in WHOLE else 1 / len(groups))
        smooth = smoothed(drawn)
        by_class = variance_by_class(smooth, BY_CELL[metric](smooth, weights))
        low, high = Scale(low=-1.0 if name in WHOLE else 0.0).interval(
            value_of(metric, drawn, weights), value_of(metric, smooth, weights), by_class @ groups, quantile()
        )
        truth = value_of(metric, expected, weights)
        found[name] = repeats, int(((low - 1e-9 <= truth) & (truth <= high + 1e-9)).sum())
    return found


def scores(
    design: Design,
    size: int,
    recall: float,
    repeats: int,
    again: bool = False,
    metrics: Sequence[str] = (ONE, *METRICS),
    grouped: bool = False,
    paired: bool = False,
) -> Found:
    """Returns for each metric how many intervals there were, and how many of them held the truth."""
    groups = design.groups(size, LARGEST_GROUPED if grouped or paired else LARGEST)
    recalls = [design.recalls(recall)]
    if paired:
        lower = recalls[0] if recall >= 1 else np.clip(recalls[0] - LOWER, 0.05, 1)
        recalls.append(lower)
    true = [truths(tuple(groups), tuple(some)) for some in recalls]
    random = np.random.default_rng([SEED, again, size, int(1000 * recall), grouped, paired, len(design.name)])
    found: Found = {}
    kinds = {name: {"bacc": "recall", ONE: "recall"}.get(name, name) for name in metrics}
    of = {name: groups[-1:] if name == ONE else groups for name in metrics}
    least = {name: needed_apart(kinds[name], of[name]) if paired else 0 for name in metrics}
    shown = [name for name, kind in kinds.items() if not too_few(kind, of[name], least[name], grouped)]
    for _ in range(repeats):
        measured = simulate(random, groups, recalls, grouped).measured()
        for name in shown:
            parts = [
                one.over("recall", [len(groups) - 1]) if name == ONE else one.whole(name) for one in measured
            ]
            estimate = paired_difference(*parts) if paired else parts[0].estimate()
            truth = true[0][name] - true[1][name] if paired else true[0][name]
            if estimate.low is not None and estimate.high is not None:
                number, inside = found.get(name, (0, 0))
                found[name] = number + 1, inside + (estimate.low - 1e-9 <= truth <= estimate.high + 1e-9)
    return found


class Part(NamedTuple):
    """One part of the simulation: which sizes, how often (near the bar: `often`), and what is simulated."""

    name: str
    sizes: tuple[int, ...]
    repeats: int
    often: int
    simulated: Callable[..., Found]
    recalls: tuple[float, ...] = RECALLS


PARTS = (
    Part("images", SIZES, 2000, 20_000, plain, FINE),
    Part("images: AUC", (50, 200), 200, 800, partial(scores, metrics=("auc",))),
    Part("groups", (2, 3, 5, 8, 10, 20, 50), 150, 2400, partial(scores, grouped=True)),
    Part("differences", (10, 20, 50), 150, 600, partial(scores, paired=True)),
    Part("differences, groups", (10, 20), 150, 600, partial(scores, grouped=True, paired=True)),
)


class Row(NamedTuple):
    """The coverage of one metric at one size in one design: over recalls, in percent."""

    part: str
    design: str
    metric: str
    size: int
    mean: float
    lowest: float
    repeats: int  # Of the lowest.

    @property
    def good(self) -> bool:
        """Whether the mean is 93 to 98, and the lowest at least 82, from ten on 90."""
        return MEAN[0] <= self.mean <= MEAN[1] and self.lowest >= bar(self.size)


def bar(size: int) -> float:
    """Returns the least coverage at any recall below 1, in percent."""
    return LOWEST_OF_TEN if size >= 10 else LOWEST


def rows_of(part: Part, design: Design, repeats: int | None = None, often: int | None = None) -> list[Row]:
    """Returns the coverage of each metric and size in a design; recall 1 counts in the mean alone."""
    times = repeats or part.repeats, often or part.often
    return [row for size in part.sizes for row in _rows(part, design, size, *times)]


def _rows(part: Part, design: Design, size: int, repeats: int, often: int) -> list[Row]:
    found = [part.simulated(design, size, recall, repeats) for recall in part.recalls]
    for place, recall in enumerate(part.recalls):
        again = [name for name in found[0] if _doubtful(name, place, found, size)]
        if again and often > repeats:
            found[place] |= part.simulated(design, size, recall, often, again=True, metrics=again)
    rows: list[Row] = []
    for name in found[0]:
        shares = [_percent(each[name]) for each in found]
        lowest, times = min((share, each[name][0]) for share, each in zip(shares[:-1], found, strict=False))
        mean = float(np.mean(shares))
        rows.append(Row(part.name, design.name, name, size, round(mean, 2), round(lowest, 2), times))
    return rows


def _doubtful(name: str, place: int, found: Sequence[Found], size: int) -> bool:
    """Whether a cell lies within a standard error of the bar or below, or the mean within two of a limit."""
    number = found[place][name][0]
    mean = np.mean([_percent(each[name]) for each in found])
    error = 2 * 100 * np.sqrt(0.05 * 0.95 / number / len(found))
    near = 100 * np.sqrt(bar(size) / 100 * (1 - bar(size) / 100) / number)
    low = place < len(found) - 1 and _percent(found[place][name]) < bar(size) + near
    return bool(low or not MEAN[0] + error <= mean <= MEAN[1] - error)


def _percent(counted: tuple[int, int]) -> float:
    return 100 * counted[1] / counted[0]


def table(rows: Sequence[Row]) -> list[str]:
    """Returns a markdown table: of each metric and size the worst means and the lowest, over all designs."""
    sizes = sorted({row.size for row in rows})
    lines = ["| | " + " | ".join(f"n = {size}" for size in sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
    for name in dict.fromkeys(row.metric for row in rows):
        cells = [_cell([row for row in rows if (row.metric, row.size) == (name, size)]) for size in sizes]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _cell(rows: Sequence[Row]) -> str:
    if not rows:
        return "-"
    means = [row.mean for row in rows]
    bad = "" if all(row.good for row in rows) else " **!**"
    return f"{min(means):.1f} to {max(means):.1f}; {min(row.lowest for row in rows):.0f}{bad}"


def main() -> None:
    """Simulates all parts and writes them as JSON and as tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/coverage"))
    parser.add_argument("--part", nargs="*", default=[part.name for part in PARTS])
    out = parser.parse_args()
    out.out.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        if part.name not in out.part:
            continue
        rows = [row for design in DESIGNS for row in rows_of(part, design)]
        name = part.name.replace(": ", "-").replace(", ", "-").lower()
        (out.out / f"{name}.json").write_text(json.dumps([row._asdict() for row in rows], indent=0) + "\n")
        (out.out / f"{name}.md").write_text("\n".join(table(rows)) + "\n")
        print(f"\n{part.name}, {part.repeats} repetitions\n", *table(rows), sep="\n", flush=True)


if __name__ == "__main__":
    main()
