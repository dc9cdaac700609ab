"""The score interval: all values of a metric that the measured one is not too far from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np

LEVEL = 0.95
_NORMAL = NormalDist().inv_cdf((1 + LEVEL) / 2)
# How far from 0 or 1 an interval ends at most, times the number of images, with 0, 1 and 2 hits or misses:
# from there so many or more are found once in twenty samples (Poisson).
_NEAR = (0.0, 0.0513, 0.3554)
_SURE = 10  # Images from which two hits or misses count there; of fewer it is one.
_STEPS = 40  # Of halving when the end of an interval is looked for.
# What is assumed of groups before their images are seen: how alike the images of a group are, as surely as so
# many groups would show it. Found by the simulation: wholly alike would hold too much, one half too little.
_ALIKE, _GROUPS = 0.6, 2.0


@dataclass(frozen=True)
class Scale:
    """Where a metric may lie, and how its variance goes with its value (up to a factor).

    Without a `shape` it is that of a proportion, p (1 - p), of the share p of the way from `low` to 1.
    """

    low: float = 0.0
    shape: Callable[[float], float] | None = None

    def interval(self, value: Any, at: Any, variance: Any, quantile: float) -> tuple[Any, Any]:
        """The values that differ from the measured one by no more than `quantile` deviations of their own.

        The variance is known at one value, `at`.

        >>> low, high = Scale().interval(1.0, 0.9, 0.9 * 0.1 / 10, 1.96)  # Ten hits of ten.
        >>> round(float(low), 4), float(high)
        (0.7225, 1.0)
        """
        if self.shape is not None:
            return _searched(value, self.shape, variance / self.shape(at), quantile)
        span = 1 - self.low
        share, place = (value - self.low) / span, (at - self.low) / span
        low, high = wilson(share, place * (1 - place) * span**2 / variance, quantile)
        return self.low + span * low, self.low + span * high


def wilson(share: Any, number: Any, quantile: float) -> tuple[Any, Any]:
    """The score interval of a proportion found in so many independent images (Wilson 1927).

    It misses truths near 0 and 1 too often, in 16 of 100 samples. With one or two hits or misses its end is
    therefore moved outwards, as Brown, Cai and DasGupta (2001) do.
    """
    square = quantile**2 / number
    middle = (share + square / 2) / (1 + square)
    width = np.sqrt(square * np.maximum(share * (1 - share), 0.0) + square**2 / 4) / (1 + square)
    low = np.minimum(middle - width, _near(share * number, number))
    high = np.maximum(middle + width, 1 - _near((1 - share) * number, number))
    return np.maximum(low, 0.0), np.minimum(high, 1.0)


def _near(found: Any, number: Any) -> Any:
    """How far from 0 the lower end lies at most; 1 where that is left to Wilson."""
    most = np.where(number >= _SURE - 1e-9, 2, 1) + 1e-9
    return np.where(found <= most, np.interp(found, range(len(_NEAR)), _NEAR) / number, 1.0)


def _searched(
    value: float, shape: Callable[[float], float], factor: float, quantile: float
) -> tuple[float, float]:
    """The score interval of a variance with any shape, its ends found by halving."""

    def far(other: float) -> bool:
        return abs(value - other) > quantile * math.sqrt(max(factor * shape(other), 0.0))

    return _edge(value, 0.0, far), _edge(value, 1.0, far)


def _edge(inside: float, outside: float, far: Callable[[float], bool]) -> float:
    """Where, between two values, it begins to be far; the outer one where not even that is far."""
    if not far(outside):
        return outside
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if far(middle) else (middle, outside)
    return inside


def quantile(freedom: float = math.inf) -> float:
    """The upper quantile of Student's t with so many degrees of freedom (at least 1), at LEVEL.

    With t = sqrt(v) tan(a) the density of the angle a is proportional to cos(a)^(v - 1).

    >>> [round(quantile(v), 2) for v in (1, 2, 10, math.inf)]
    [12.71, 4.3, 2.23, 1.96]
    """
    return _NORMAL if freedom > 1000 else _of_student(max(round(freedom, 2), 1.0))


def p_value(far: float, variance: float, freedom: float = math.inf) -> float:
    """The share of differences as far from 0 as this one, where there is none: the inverse of `quantile`.

    >>> round(p_value(quantile(5), 1.0, 5), 4), round(p_value(quantile(), 1.0), 4)
    (0.05, 0.05)
    """
    from scipy.special import stdtr

    if variance <= 0:
        return 1.0 if far == 0 else 0.0
    if freedom > 1000:
        return math.erfc(far / math.sqrt(2 * variance))
    return float(2 * stdtr(max(round(freedom, 2), 1.0), -far / math.sqrt(variance)))


@lru_cache(maxsize=1000)
def _of_student(freedom: float) -> float:
    angle = np.linspace(0, np.pi / 2, 5001)
    density = np.cos(angle) ** (freedom - 1)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return float(np.sqrt(freedom) * np.tan(np.interp(LEVEL, below / below[-1], angle)))


def degrees_of_freedom(variance: np.ndarray, labels: np.ndarray, prior: float) -> float:
    """How well a variance is known that is the sum over the images of classes (Satterthwaite 1946).

    Each class knows its own as well as its images, and `prior` more, less one.
    """
    number = np.bincount(labels)
    here = number > 0
    parts = np.bincount(labels, variance)[here]
    return float(parts.sum() ** 2 / (parts**2 / (number[here] - 1 + prior)).sum())


def design_effect(each: np.ndarray, variance: np.ndarray, labels: np.ndarray, clusters: np.ndarray) -> float:
    """How many times larger the variance is because images come in groups (patients, lesions).

        1 + rho (sum over groups of (sum of deviations)^2 / sum of variances - 1)

    rho is how alike the influences within a group are, on average over all pairs of images. It is measured,
    as if some groups more were rather alike: a few groups tell little of it.
    """
    deviation = np.sqrt(variance)
    pairs = np.bincount(clusters, deviation) ** 2 - np.bincount(clusters, variance)
    possible, total = pairs.sum(), variance.sum()
    if possible <= 1e-12 * total:
        return 1.0
    found = (np.bincount(clusters, each) ** 2 - np.bincount(clusters, each**2)).sum()
    found += _lost_to_centring(each, labels, clusters)
    prior = _GROUPS * (pairs**2).sum() / possible  # Pairs of that many groups of a typical size.
    known = (each**2).sum() / total * possible
    rho = float(np.clip((found + _ALIKE * prior) / (known + prior), 0, 1))
    return 1 + rho * possible / total


def _lost_to_centring(each: np.ndarray, labels: np.ndarray, clusters: np.ndarray) -> float:
    """What the products of pairs lack on average, because influences are taken from the mean of the class."""
    together, number = np.unique(clusters * (labels.max() + 1) + labels, return_counts=True)
    images = np.bincount(labels)
    square = np.bincount(labels, each**2) / np.maximum(images, 1) ** 2
    return float(((number**2 - number) * square[together % len(images)]).sum())
