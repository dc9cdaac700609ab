"""How sure a metric is: one interval for each, the same wherever it is shown, and that of a difference.

A case is a test image. The variance of a metric is the sum of the variances of the images' influences on it
(`influence`), times the effect of groups. `score` makes an interval of it. For the recall of one class
without groups that is Wilson's (1927). No interval has the width zero. All is a function of the cases and
answers alone: nothing is drawn at random.

Where a simulation (`benchmarks/coverage.py`) shows that an interval does not hold what it says, there is
none, and a reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from lmd.evaluation.intervals.influence import Influence
from lmd.evaluation.intervals.score import Scale, design_effect, quantile
from lmd.evaluation.parts import Estimate

# Groups that the smallest class needs for an interval, by metric: found by the simulation. Where two are
# enough, one image is enough of MANY classes. A difference needs APART at the least, that of one class
# or of quadratic kappa more. With groups of several images a precision needs GROUPED.
FEWEST = {
    "recall": 2,
    "mcc": 2,
    "kappa_quadratic": 2,
    "kappa_unweighted": 2,
    "f1": 3,
    "precision": 8,
    "auc": 50,
}
GROUPED = {"precision": 50}
MANY, APART, APART_KAPPA, APART_ALONE = 8, 10, 20, 50


@dataclass(frozen=True)
class Sample:
    """What was drawn: of each image its class, and its group as a number."""

    labels: np.ndarray
    clusters: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, clusters: np.ndarray) -> Sample:
        """Returns the sample with its groups numbered."""
        return cls(labels, pd.factorize(clusters)[0])

    def groups(self, classes: int) -> np.ndarray:
        """Returns how many groups each class has images of [K]."""
        return np.bincount(np.unique(self.clusters * classes + self.labels) % classes, minlength=classes)


@dataclass(frozen=True)
class Measured:
    """One metric of one run, or the mean over several trainings: its value, and what it is sure of.

    `sample` and `influence` are of the images that it rests on. `reason` says why there is no interval,
    `apart` why a difference has none.
    """

    value: float
    sample: Sample
    influence: Influence
    scale: Scale = field(default_factory=Scale)
    freedom: float = math.inf
    reason: str | None = None
    apart: str | None = None
    trained: tuple[float, ...] = ()  # The values of several trainings.

    def estimate(self) -> Estimate:
        """Returns the value with its interval."""
        if math.isnan(self.value) or self.reason is not None:
            return Estimate(value=defined(self.value), low=None, high=None)
        variance = self._of_cases()
        spread, freedom = with_trainings(variance, self.freedom, self.trained)
        at = self.influence.at
        low, high = self.scale.interval(self.value, at, spread, quantile(freedom))
        return Estimate(value=float(self.value), low=round(float(low), 12), high=round(float(high), 12))

    def _of_cases(self) -> float:
        variance, sample = self.influence.variance, self.sample
        return float(variance.sum()) * design_effect(
            self.influence.each, variance, sample.labels, sample.clusters
        )


def with_trainings(variance: float, freedom: float, trained: Sequence[float]) -> tuple[float, float]:
    """A variance over cases and that of the mean over trainings, and the degrees of freedom of their sum."""
    if len(trained) < 2:
        return variance, freedom
    own = float(np.var(trained, ddof=1)) / len(trained)
    both = variance + own
    return both, both**2 / (variance**2 / freedom + own**2 / (len(trained) - 1)) if own else freedom


def too_few(metric: str, groups: np.ndarray, least: int = 0, grouped: bool = False) -> str | None:
    """Returns why a metric has no interval on classes of so many groups each, or None where it has one.

    `grouped` is true where a group may have several images: a class of one group was not simulated.

    >>> too_few("recall", np.array([1, 40]))
    'no interval: the smallest class has 1 image or group, and this metric needs 2'
    """
    needed, smallest = max(FEWEST[metric], GROUPED.get(metric, 0) if grouped else 0, least), int(groups.min())
    if smallest >= needed or (needed == FEWEST["recall"] and len(groups) >= MANY and not grouped):
        return None
    noun = "image or group" if smallest == 1 else "images or groups"
    return f"no interval: the smallest class has {smallest} {noun}, and this metric needs {needed}"


def needed_apart(metric: str, groups: np.ndarray) -> int:
    """Returns how many groups the smallest class needs, at the least, for the interval of a difference."""
    if len(groups) == 1:
        return APART_ALONE
    return APART_KAPPA if metric == "kappa_quadratic" else APART


def defined(value: float) -> float | None:
    """Returns a number; None for nan."""
    return None if math.isnan(value) else float(value)


def without_interval(value: float, reason: str | None) -> Measured:
    """Returns a value that has no interval, nor has a difference of two such values."""
    nothing = np.empty(0)
    sample = Sample(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    return Measured(value, sample, Influence(nothing, nothing, math.nan), reason=reason, apart=reason)


def mean_of(runs: Sequence[Measured]) -> Measured:
    """Returns the mean of several trainings, measured on the same cases.

    Its variance has two parts: that of the cases, and that of the trainings over their number.
    """
    first = runs[0]
    values = tuple(run.value for run in runs)
    parts = [run.influence for run in runs]
    influence = Influence(
        np.mean([part.each for part in parts], axis=0),
        np.mean([part.variance for part in parts], axis=0),
        float(np.mean([part.at for part in parts])),
    )
    return Measured(
        float(np.mean(values)), first.sample, influence, first.scale, min(run.freedom for run in runs),
        first.reason, first.apart, values,
    )  # fmt: skip
