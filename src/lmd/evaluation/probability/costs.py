"""Decisions by cost: the class whose expected cost is least, and what decisions cost at stated shares.

With C[j, a] the cost of taking an image of class j for class a, and p the calibrated probabilities at the
shares where the model is used, Bayes' decision is the class a with the least sum over j of p_j C[j, a].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmd.evaluation.intervals import influence
from lmd.evaluation.intervals.differences import paired_difference
from lmd.evaluation.intervals.uncertainty import Measured, Sample, needed_apart, too_few, without_interval
from lmd.evaluation.metrics import confusion
from lmd.evaluation.parts import Estimate


def cheapest(probabilities: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """The class with the least expected cost, of each image [N].

    >>> cheapest(np.array([[0.8, 0.2]]), np.array([[0.0, 1.0], [10.0, 0.0]])).tolist()
    [1]
    """
    return (probabilities @ costs).argmin(1)


@dataclass(frozen=True)
class MeanCost:
    """The mean cost of decisions where the classes have stated shares, and what its interval is made of.

    `measured` is the cost as a share of `most`, the cost if every image got the worst decision.
    """

    measured: Measured
    most: float

    @classmethod
    def of(cls, sample: Sample, decided: np.ndarray, costs: np.ndarray, prior: np.ndarray) -> MeanCost:
        """Measures decisions [N] by costs [K, K]; undefined where a class with a share has no image."""
        number = np.bincount(sample.labels, minlength=len(prior))
        most = float((prior * costs.max(1)).sum())
        if (number[prior > 0] == 0).any() or most == 0:
            return cls(without_interval(np.nan, None), most)
        matrix = confusion(sample.labels, decided, len(prior), np.ones((1, len(decided))))[0]
        by_cell = costs * (prior / np.maximum(number, 1))[:, None] / most
        smooth = influence.smoothed(matrix)
        found = influence.of_cells(sample.labels, decided, smooth, by_cell, float((by_cell * smooth).sum()))
        groups = sample.groups(len(prior))[prior > 0]
        grouped = bool(groups.sum() < number[prior > 0].sum())
        reasons = [too_few("recall", groups, least, grouped) for least in (0, needed_apart("recall", groups))]
        value = float((by_cell * matrix).sum())
        return cls(Measured(value, sample, found, reason=reasons[0], apart=reasons[1]), most)

    def estimate(self) -> Estimate:
        """Returns the mean cost of an image with its interval."""
        return _times(self.measured.estimate(), self.most)

    def less(self, other: MeanCost) -> Estimate:
        """Returns this cost less another one of the same images, costs and shares, with its interval."""
        return _times(paired_difference(self.measured, other.measured), self.most)


def _times(estimate: Estimate, factor: float) -> Estimate:
    parts = (estimate.value, estimate.low, estimate.high)
    value, low, high = (None if part is None else part * factor for part in parts)
    return Estimate(value=value, low=low, high=high)
