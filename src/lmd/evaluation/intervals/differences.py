"""The difference of two runs on the same cases: its interval, and the p-value that is the interval's inverse.

A few trainings may agree by chance. On many images an interval of all variance is then too short: it
excluded the truth in up to 12 of 100 comparisons of two trainings each (benchmarks/type_one.py). So it is
never shorter than that of the trainings alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lmd.evaluation.intervals.score import degrees_of_freedom, design_effect, p_value, quantile
from lmd.evaluation.intervals.uncertainty import Measured, defined, with_trainings
from lmd.evaluation.parts import Estimate

_PRIOR = 2.0  # Images more in each class of a difference, on which two runs err independently.


@dataclass(frozen=True)
class Gap:
    """The difference of two runs on the same cases, its variance, and how well the variance is known."""

    value: float
    variance: float
    freedom: float

    @property
    def p(self) -> float:
        """The p-value of "no difference": 0 lies outside of the interval where it is below 1 - LEVEL."""
        return p_value(abs(self.value), self.variance, self.freedom)


def gap_of(first: Measured, second: Measured) -> Gap:
    """Returns first - second of two runs on the same cases, with its variance.

    Each image has an influence on the difference: that on the first less that on the second. What makes an
    image easy or hard for both cancels, so that runs can be told apart although their own intervals overlap.
    Runs that agree on all images may still differ on others: a few images on which they err independently
    are taken to have been seen.
    """
    labels, clusters = first.sample.labels, first.sample.clusters
    each = first.influence.each - second.influence.each
    variance = _of_difference(each, first.influence.variance + second.influence.variance, labels)
    of_cases = float(variance.sum()) * design_effect(each, variance, labels, clusters)
    trained = [mine - other for mine, other in zip(first.trained, second.trained, strict=True)]
    freedom = degrees_of_freedom(variance, labels, _PRIOR)
    return Gap(float(first.value - second.value), *with_trainings(of_cases, freedom, trained))


def paired_difference(first: Measured, second: Measured, wide: bool = False) -> Estimate:
    """Returns first - second of two runs on the same cases, with the interval of the difference.

    With several trainings it is as wide as that of the trainings alone at the least: `p_of` is its inverse.
    Of a few images of each class it holds the truth too often; `wide` takes it all the same.
    """
    why_not = first.reason or second.reason if wide else first.apart
    if math.isnan(first.value - second.value) or why_not is not None:
        return Estimate(value=defined(first.value - second.value), low=None, high=None)
    gaps = [gap_of(first, second), *_of_trainings(first, second)]
    value, most = gaps[0].value, 1 - first.scale.low
    width = max(quantile(gap.freedom) * math.sqrt(gap.variance) for gap in gaps)
    low, high = max(value - width, -most), min(value + width, most)
    return Estimate(value=value, low=round(low, 12), high=round(high, 12))


def p_of(one: Measured, two: Measured) -> float:
    """Returns the p-value of "no difference" between two means over trainings, on the same cases.

    Of two p-values it is the larger: that of all variance, and that of the trainings alone, where there are
    several.
    """
    return max(gap.p for gap in (gap_of(one, two), *_of_trainings(one, two)))


def _of_trainings(one: Measured, two: Measured) -> list[Gap]:
    """The difference with the variance of its trainings alone; nothing where there is one of each."""
    gaps = [mine - other for mine, other in zip(one.trained, two.trained, strict=True)]
    if len(gaps) < 2:
        return []
    return [Gap(float(np.mean(gaps)), float(np.var(gaps, ddof=1)) / len(gaps), len(gaps) - 1)]


def _of_difference(each: np.ndarray, expected: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The variance of each image's influence on a difference [N]: that of its class."""
    number = np.bincount(labels)
    seen, prior = np.bincount(labels, each**2), np.bincount(labels, expected) / np.maximum(number, 1)
    return ((seen + _PRIOR * prior) / np.maximum(number - 1 + _PRIOR, 1))[labels]
