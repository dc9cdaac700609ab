"""How much each image moves a metric: the influences, of which the variance of a metric is made.

The images of a class are drawn; how many there are of each class is given. A metric is then a smooth function
of the cells M[j, g] of the confusion matrix (class j taken for class g), or of ranks. To first order

    metric - truth = sum_i influence_i,   influence_i = G[y_i, g_i] - mean over the images of class y_i

with G[j, g] the derivative by the cell (the delta method). A few images say little of the variance: three
hits of three look certain. Each class is therefore given PRIOR images more, half of them hits, before
derivatives and variances are taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

PRIOR = 3.0
# A metric's derivative by the cells of a confusion matrix [K, K], as the mean over classes with weights [K].
Derivative = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Influence(NamedTuple):
    """One metric: of each image [N] its influence, and what the variance of that is expected to be.

    `at` is the metric's value where the variances hold: that of the smoothed matrix.
    """

    each: np.ndarray
    variance: np.ndarray
    at: float


def smoothed(matrix: np.ndarray) -> np.ndarray:
    """Confusion matrices [..., K, K] as if each class had PRIOR images more; their rows keep their sums.

    Half of the images more are hits, the others are spread evenly over the other classes.
    """
    true, classes = matrix.sum(-1), matrix.shape[-1]
    prior = np.where(np.eye(classes, dtype=bool), 0.5, 0.5 / max(classes - 1, 1))
    return (matrix + PRIOR * prior) * (true / (true + PRIOR))[..., None]


def of_cells(
    labels: np.ndarray, predicted: np.ndarray, matrix: np.ndarray, derivative: np.ndarray, at: float
) -> Influence:
    """Returns the influences on a metric with these derivatives [K, K] by the cells of a smoothed matrix."""
    each = centred(derivative[labels, predicted], labels)
    return Influence(each, variance_by_class(matrix, derivative)[labels], at)


def variance_by_class(matrix: np.ndarray, derivative: np.ndarray) -> np.ndarray:
    """The variance of the influence of one image of each class [..., K]."""
    share = matrix / _at_least(matrix.sum(-1, keepdims=True))
    mean = (share * derivative).sum(-1)
    return np.maximum((share * derivative**2).sum(-1) - mean**2, 0)


def of_recalls(labels: np.ndarray, hits: np.ndarray, matrix: np.ndarray, weights: np.ndarray) -> Influence:
    """Returns the influences on a mean of recalls with these weights [K], which sum to 1.

    It is `of_cells` of the derivatives below, without the matrix of these.
    """
    by_hit = weights / _at_least(matrix.sum(-1))
    share = _hits(matrix) / _at_least(matrix.sum(-1))
    variance = share * (1 - share) * by_hit**2
    each = centred(hits * by_hit[labels], labels)
    return Influence(each, variance[labels], float((weights * share).sum()))


def centred(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Values [N] less the mean of their class."""
    number = np.bincount(labels)
    return values - (np.bincount(labels, values) / np.maximum(number, 1))[labels]


def recall_by_cell(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The derivatives of a mean of recalls, M[k, k] / t_k."""
    return np.eye(len(weights)) * (weights / _at_least(matrix.sum(-1)))[..., None]


def precision_by_cell(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The derivatives of a mean of precisions, M[k, k] / p_k."""
    guessed = _at_least(matrix.sum(-2))[..., None, :]
    return (np.eye(len(weights)) - _hits(matrix)[..., None, :] / guessed) * (weights / guessed)


def f1_by_cell(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The derivatives of a mean of F1, 2 M[k, k] / (t_k + p_k); the t_k are given."""
    both = _at_least(matrix.sum(-1) + matrix.sum(-2))[..., None, :]
    return (2 * np.eye(len(weights)) - 2 * _hits(matrix)[..., None, :] / both) * (weights / both)


def mcc_by_cell(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The derivatives of Matthews' correlation; the t_k are given, and all classes count."""
    true, guessed = matrix.sum(-1)[..., None, :], matrix.sum(-2)[..., None, :]
    total = matrix.sum((-2, -1))[..., None, None]
    of_guess = total**2 - (guessed**2).sum(-1, keepdims=True)
    root = np.sqrt(of_guess * (total**2 - (true**2).sum(-1, keepdims=True)))
    right = np.trace(matrix, axis1=-2, axis2=-1)[..., None, None]
    value = (right * total - (true * guessed).sum(-1, keepdims=True)) / root
    return (total * np.eye(len(weights)) - true) / root + value / of_guess * guessed


def kappa_by_cell(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The derivatives of Cohen's kappa without weights; the t_k are given, and all classes count."""
    return _kappa_by_cell(matrix, 1 - np.eye(len(weights)))


def quadratic_kappa_by_cell(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The derivatives of Cohen's kappa with quadratic weights; it depends on the order of the classes."""
    index = np.arange(len(weights), dtype=float)
    return _kappa_by_cell(matrix, (index[:, None] - index) ** 2)


def _kappa_by_cell(matrix: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """Of 1 - sum(W M) / sum(W E), with E[j, g] = t_j p_g / s."""
    by_guess = (matrix.sum(-1) @ penalty)[..., None, :] / matrix.sum((-2, -1))[..., None, None]
    chance = (by_guess * matrix.sum(-2)[..., None, :]).sum(-1, keepdims=True)  # by_guess: its derivative.
    observed = (penalty * matrix).sum((-2, -1))[..., None, None]
    return observed / chance**2 * by_guess - penalty / chance


def _hits(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _at_least(number: np.ndarray) -> np.ndarray:
    return np.maximum(number, 1e-300)


# By metric: the derivatives by the cells, as the mean over classes with weights [K].
BY_CELL: dict[str, Derivative] = {
    "recall": recall_by_cell,
    "precision": precision_by_cell,
    "f1": f1_by_cell,
    "mcc": mcc_by_cell,
    "kappa_quadratic": quadratic_kappa_by_cell,
    "kappa_unweighted": kappa_by_cell,
}
