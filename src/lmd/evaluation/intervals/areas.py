"""What the interval of a mean of AUCs is made of."""

from __future__ import annotations

import numpy as np

from lmd.evaluation.intervals.influence import Influence, centred
from lmd.evaluation.intervals.score import Scale, degrees_of_freedom
from lmd.evaluation.intervals.uncertainty import Measured, Sample

_PRIOR = 3.0  # Images more whose variance is the one that Hanley and McNeil expect.
_LEAST = 2.0  # What is added to the degrees of freedom of each class.
_TOWARDS_MEAN = 2.0  # Images more of each class, as near to 1 as the classes on average.
_WORST = 0.3  # The smallest AUC at which the variance of a class is modelled.


def by_ranks(labels: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
    """How each image takes part in the AUC of class k [N], its own class against the rest (DeLong 1988).

    Of an image of class k it is the share of the others that score lower, of another image the share of the
    images of class k that score higher; ties count one half.
    """
    own = labels == k
    inside, outside = np.sort(scores[own]), np.sort(scores[~own])
    found = np.empty(len(scores))
    found[own] = _below(outside, scores[own])
    found[~own] = 1 - _below(inside, scores[~own])
    return found


def _below(among: np.ndarray, values: np.ndarray) -> np.ndarray:
    lower, upper = (np.searchsorted(among, values, side) for side in ("left", "right"))
    return (lower + upper) / 2 / max(len(among), 1)


def variance_of_auc(auc: np.ndarray, own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The variance of an AUC with so many images of the class and of others (Hanley and McNeil 1982).

    A (1 - A)^2 / (2 - A) / own + A^2 (1 - A) / (1 + A) / others
    """
    return auc * (1 - auc) ** 2 / (2 - auc) / own + auc**2 * (1 - auc) / (1 + auc) / others


class ShapeOfArea:
    """How the variance of a mean of AUCs goes with its value.

    Each class keeps its share of what lacks to 1.
    """

    def __init__(self, areas: np.ndarray, own: np.ndarray, others: np.ndarray) -> None:
        """Takes the AUC of each class, and how many images it and the others have."""
        lacking = (own * (1 - areas) + _TOWARDS_MEAN * (1 - areas.mean()) + 0.5) / (own + _TOWARDS_MEAN + 1)
        self.lacking, self.own, self.others = lacking / lacking.mean(), own, others

    def parts(self, value: float) -> np.ndarray:
        """Returns the variance that each class contributes."""
        areas = np.maximum(1 - self.lacking * (1 - value), _WORST)
        return variance_of_auc(areas, self.own, self.others) / len(self.own) ** 2

    def __call__(self, value: float) -> float:
        """Returns the variance of the mean."""
        return float(self.parts(value).sum())


def mean_area(value: float, sample: Sample, ranks: np.ndarray, classes: np.ndarray) -> Measured:
    """Returns the mean of the AUCs of some classes that have images, with `ranks` [N, K] from `by_ranks`.

    The variance goes with the value as Hanley and McNeil's does. Its size is measured (DeLong), as if there
    were a few images more with the size that they expect.
    """
    labels = sample.labels
    number = np.bincount(labels, minlength=ranks.shape[1])
    own, others = number[classes], len(labels) - number[classes]
    taking_part = ranks[np.arange(len(labels)), labels]
    areas = np.bincount(labels, taking_part, len(number))[classes] / own
    each = _influences(labels, ranks, classes)
    shape = ShapeOfArea(areas, own, others)
    at = min(value, 1 - 0.5 / len(labels))
    variance = np.zeros(len(number))
    variance[classes] = _size(each, labels, shape(at), int(own.min()) - 1) * shape.parts(at) / own
    freedom = degrees_of_freedom(variance[labels], labels, _LEAST)
    return Measured(value, sample, Influence(each, variance[labels], at), Scale(shape=shape), freedom)


def _influences(labels: np.ndarray, ranks: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The influence of each image on the mean of AUCs: as one of its class, and as one of the others."""
    number = np.bincount(labels, minlength=ranks.shape[1])
    as_other, as_own = np.zeros(len(number)), np.zeros(len(number))
    as_other[classes] = 1 / (len(labels) - number[classes]) / len(classes)
    as_own[classes] = 1 / number[classes] / len(classes)
    taking_part = ranks[np.arange(len(labels)), labels]
    return centred(ranks @ as_other + taking_part * (as_own - as_other)[labels], labels)


def _size(each: np.ndarray, labels: np.ndarray, expected: float, known: int) -> float:
    """How many times the expected variance is seen, as far as the images of the smallest class tell it."""
    number = np.bincount(labels)
    unbiased = np.where(number > 1, number / np.maximum(number - 1, 1), 0)
    seen = float((np.bincount(labels, each**2) * unbiased).sum())
    usual = 2.0 if len(np.unique(labels)) == 2 else 1.0  # Of two classes both AUCs are the same.
    return (seen / expected * known + _PRIOR * usual) / (known + _PRIOR)
