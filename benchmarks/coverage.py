"""How often the intervals of an evaluation hold the truth: simulated predictions whose truth is known.

    python -m benchmarks.coverage --out docs/coverage.json     # hours of one core; prints a table
    python -m benchmarks.coverage --quick                      # minutes

Scores are independent normal numbers, that of the true class raised so that the class has a chosen recall.
With groups, the images of a group (1 to 5 images of one class) share half of the variance of their scores.
n is the number of groups of the smallest class; without groups that is its images. For differences, a second
classifier has recalls .1 lower, and its scores correlate with those of the first by .7.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lmd.evaluation.measured import AllMetrics
from lmd.evaluation.uncertainty import FEWEST, Sample, paired_difference

RECALLS = (0.3, 0.5, 0.7, 0.85, 0.95, 1.0)
SIZES = (2, 3, 5, 8, 10, 20, 50, 200, 500)
ALIKE, CORRELATION, LOWER = 0.5, 0.7, 0.1
TRUTH = 40_000  # Images behind a true value.
LARGEST = 4_000  # Images of a simulated test set at most: larger classes than the smallest are cut.
ONE = "recall of one class"
METRICS = ("bacc", "auc", "f1", "mcc", "kappa_unweighted", "precision", "kappa")


class Design(NamedTuple):
    """Groups of each class, and each class's recall, for a size of the smallest class and its recall."""

    name: str
    times: tuple[float, ...]  # Groups of each class, as a multiple of the smallest.
    spread: str = "equal"

    def groups(self, size: int) -> np.ndarray:
        """Returns the groups of each class [K]."""
        wanted = np.round(size * np.array(self.times)).astype(int)
        return np.maximum(np.minimum(wanted, LARGEST // len(wanted)), min(size, wanted.min()))

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


def truths(groups: np.ndarray, recalls: np.ndarray) -> dict[str, float]:
    """Returns the true values: those of many images, in the proportions of the classes."""
    many = np.maximum(groups * TRUTH // groups.sum(), 1)
    # A rare class is given as many images as others, and its images less weight: a sharper truth.
    parts = np.full(len(groups), TRUTH // len(groups))
    drawn = simulate(np.random.default_rng(2), parts, [recalls], grouped=False)
    from lmd.evaluation.metrics import all_metrics

    weights = (many / parts)[drawn.labels][None]
    macro, classes = all_metrics(drawn.labels, drawn.scores[0], weights)
    found = {name: float(values[0]) for name, values in macro.items()}
    return {**found, ONE: float(classes["recall"][0, -1])}


def held(
    design: Design, size: int, recall: float, repeats: int, grouped: bool = False, paired: bool = False
) -> dict[str, tuple[int, int]]:
    """Returns for each metric how many intervals there were, and how many held the truth."""
    groups, recalls = design.groups(size), [design.recalls(recall)]
    if paired:
        lower = recalls[0] if recall >= 1 else np.clip(recalls[0] - LOWER, 0.05, 1)
        recalls.append(lower)
    true = [truths(groups, some) for some in recalls]
    random = np.random.default_rng([size, int(1000 * recall), grouped, paired, len(groups)])
    found: dict[str, tuple[int, int]] = {}
    shown = [name for name in (ONE, *METRICS) if FEWEST.get(name, 0) <= size]  # Others have no interval.
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
