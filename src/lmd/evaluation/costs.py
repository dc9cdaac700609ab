"""Decisions by cost: the class whose expected cost is least, and what decisions cost at stated shares.

With C[j, a] the cost of taking an image of class j for class a, and p the calibrated probabilities at the
shares where the model is used, Bayes' decision is the class a with the least sum over j of p_j C[j, a].
"""

from __future__ import annotations

import math

import numpy as np

from lmd.evaluation.influence import PRIOR, centred
from lmd.evaluation.results import Estimate
from lmd.evaluation.score import degrees_of_freedom, design_effect, quantile

_LEAST_GROUPS = 10  # In all: below, a mean cost has no interval.


def cheapest(probabilities: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """The class with the least expected cost, of each image [N].

    >>> cheapest(np.array([[0.8, 0.2]]), np.array([[0.0, 1.0], [10.0, 0.0]])).tolist()
    [1]
    """
    return (probabilities @ costs).argmin(1)


def mean_cost(labels: np.ndarray, each: np.ndarray, clusters: np.ndarray, prior: np.ndarray) -> Estimate:
    """The mean cost of an image where the classes have the shares `prior` [K], with its 95% interval.

    `each` [N] is the cost of each image, or the difference of two costs. The images of a class with a share
    must be there; otherwise the mean is undefined. The variance of a class is measured, as if it had a few
    images more with the variance of all.
    """
    number = np.bincount(labels, minlength=len(prior))
    if (number[prior > 0] == 0).any():
        return Estimate(value=None, low=None, high=None)
    by_image = (prior / np.maximum(number, 1))[labels]
    value = float((by_image * each).sum())
    groups = np.unique(clusters, return_inverse=True)[1]
    if groups.max() + 1 < _LEAST_GROUPS:
        return Estimate(value=value, low=None, high=None)
    spread = by_image**2 * _variances(labels, each)[labels]
    influence = centred(each, labels) * by_image
    total = float(spread.sum()) * (design_effect(influence, spread, labels, groups) if spread.any() else 1)
    width = quantile(degrees_of_freedom(spread, labels, PRIOR) if spread.any() else math.inf) * math.sqrt(
        total
    )
    return Estimate(value=value, low=value - width, high=value + width)


def _variances(labels: np.ndarray, each: np.ndarray) -> np.ndarray:
    """The variance of the costs in each class, with PRIOR images more that have the variance of all."""
    number = np.bincount(labels)
    squares = np.bincount(labels, centred(each, labels) ** 2)
    overall = squares.sum() / max(len(labels) - (number > 0).sum(), 1)
    return (squares + PRIOR * overall) / np.maximum(number - 1 + PRIOR, 1)
