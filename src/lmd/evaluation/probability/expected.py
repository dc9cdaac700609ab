"""What decisions are worth where the classes have other shares than in the split: expected PPV and NPV.

Each image that is taken for a class is a true or a false alarm. With r_j the share of the images of class j
that are taken for class k, and w the shares of the classes where the model is used,

    sensitivity = r_k               specificity = 1 - sum over j != k of w_j r_j / (1 - w_k)
    PPV = w_k r_k / sum over j of w_j r_j
    NPV = sum over j != k of w_j (1 - r_j) / sum over j of w_j (1 - r_j)

This takes the images of a class to look the same there. The intervals are made of those of the r_j: the
distances of their ends are added as deviations are (MOVER; Zou and Donner 2008, of ratios Donner and Zou
2012). A class of one image may then have any r_j.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from lmd.evaluation.intervals.shares import share_of
from lmd.evaluation.parts import Estimate

UNDEFINED = Estimate(value=None, low=None, high=None)


class Ends(NamedTuple):
    """A value, or one of each class [K], and the ends of its interval."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Alarms:
    """The images that are taken for one class: of each its class, its group, and whether it is taken."""

    labels: np.ndarray
    clusters: np.ndarray
    taken: np.ndarray
    own: int
    classes: int

    @cached_property
    def rates(self) -> Ends:
        """Of each class the share of its images that are taken; nan of a class without images."""
        rows = [np.flatnonzero(self.labels == k) for k in range(self.classes)]
        found = [share_of(self.taken[members], self.clusters[members]) for members in rows]
        value = np.array([np.nan if one.value is None else one.value for one in found])
        low = np.array([0.0 if one.low is None else one.low for one in found])
        high = np.array([1.0 if one.high is None else one.high for one in found])
        return Ends(value, low, high)

    @property
    def missed(self) -> Ends:
        """Of each class the share of its images that are not taken."""
        value, low, high = self.rates
        return Ends(1 - value, 1 - high, 1 - low)

    def ppv(self, prior: np.ndarray) -> Estimate:
        """Returns the expected positive predictive value at shares `prior` [K]."""
        own = np.arange(self.classes) == self.own
        return _share(_sum(self.rates, prior * own), _sum(self.rates, prior * ~own))

    def npv(self, prior: np.ndarray) -> Estimate:
        """Returns the expected negative predictive value at shares `prior` [K]."""
        own = np.arange(self.classes) == self.own
        return _share(_sum(self.missed, prior * ~own), _sum(self.missed, prior * own))

    def specificity(self, prior: np.ndarray) -> Estimate:
        """Returns the expected specificity at shares `prior` [K]: that of the other classes' mix there."""
        others = prior * (np.arange(self.classes) != self.own)
        if not others.sum():
            return UNDEFINED
        found = _sum(self.missed, others / others.sum())
        return UNDEFINED if np.isnan(found.value) else _estimate(*found)


def _sum(rates: Ends, weights: np.ndarray) -> Ends:
    """A weighted sum of rates; nan where one with a weight is."""
    value, low, high = (part[weights > 0] for part in rates)
    some = weights[weights > 0]
    total = np.sum(some * value)
    below, above = (np.sqrt(np.sum((some * gap) ** 2)) for gap in (value - low, high - value))
    return Ends(total, np.maximum(total - below, 0), total + above)


def _share(part: Ends, rest: Ends) -> Estimate:
    """The share part / (part + rest); undefined where both are 0 or one is unknown."""
    if np.isnan(part.value + rest.value) or part.value + rest.value == 0:
        return UNDEFINED
    if part.value == 0:  # The ratio has to have something below its line.
        low, high = _ratio(part, rest)
        return _estimate(0.0, low / (1 + low), high / (1 + high))
    low, high = _ratio(rest, part)
    return _estimate(part.value / (part.value + rest.value), 1 / (1 + high), 1 / (1 + low))


def _ratio(above: Ends, below: Ends) -> tuple[float, float]:
    """The interval of above / below (Donner and Zou 2012); its lower end in a form without 0 / 0."""
    product = above.value * below.value
    first = above.low * (2 * above.value - above.low)
    root = np.sqrt(max(product**2 - first * below.high * (2 * below.value - below.high), 0.0))
    low = first / (product + root) if product + root > 0 else 0.0
    under = below.low * (2 * below.value - below.low)
    root = np.sqrt(max(product**2 - above.high * (2 * above.value - above.high) * under, 0.0))
    return float(low), float((product + root) / under)


def _estimate(middle: Any, low: Any, high: Any) -> Estimate:
    value = float(middle)
    return Estimate(value=value, low=min(float(low), value), high=max(min(float(high), 1.0), value))
