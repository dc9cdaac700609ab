"""How good probabilities are: log loss, Brier score and calibration errors, as functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lmd.errors import DataError
from lmd.evaluation.intervals.score import quantile
from lmd.evaluation.parts import Estimate

# The least probability whose logarithm is taken: one of 0 would make the mean log loss infinite.
TINY = 1e-30
BINS = 15  # As Guo et al. (2017) have it.
FEWEST_GROUPS = 10  # Below, the mean of a skewed loss has no interval.
_ROUNDING = 0.01  # How far from 1 the probabilities of a case may add up: half precision has 3 digits.


def check_probabilities(probabilities: np.ndarray, names: Sequence[str] | None = None) -> None:
    """Refuses what is no table of probabilities [N, K]; `names` are those of the cases, for the message.

    Raises:
        DataError: the shape, or the first case whose row is none.
    """
    if probabilities.ndim != 2 or len(probabilities) == 0:
        raise DataError(f"probabilities must be [cases, classes], found shape {probabilities.shape}")
    right = (probabilities >= 0).all(1) & (np.abs(probabilities.sum(1) - 1) <= _ROUNDING)
    if not right.all():
        row = int(np.flatnonzero(~right)[0])
        case = f"case {row}" if names is None else names[row]
        raise DataError(
            f"the probabilities of {case} are not from 0 to 1 with a sum of 1; of logits, take the "
            f"softmax first (found {probabilities[row].tolist()})"
        )


def log_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The log loss of each case [N], -log p_y; its mean is the negative log likelihood (NLL).

    >>> log_losses(np.array([1]), np.array([[0.5, 0.5]])).round(4).tolist()
    [0.6931]
    """
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], TINY))


def brier_scores(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The Brier score of each case [N], sum over k of (p_k - [y = k])^2, from 0 to 2 (Brier 1950).

    >>> brier_scores(np.array([1]), np.array([[0.5, 0.5]])).tolist()
    [0.5]
    """
    return ((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(1)


def equal_width(scores: np.ndarray, bins: int) -> np.ndarray:
    """The bin of each score [N]: bins of one width from 0 to 1, their upper edges included.

    >>> equal_width(np.array([0.0, 0.5, 0.51, 1.0]), 2).tolist()
    [0, 0, 1, 1]
    """
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], scores)


def equal_mass(scores: np.ndarray, bins: int) -> np.ndarray:
    """The bin of each score [N]: bins of as many scores each; equal scores share the bin of the first.

    >>> equal_mass(np.array([0.9, 0.1, 0.1, 0.3]), 2).tolist()
    [1, 0, 0, 1]
    """
    ordered = np.sort(scores)
    return np.searchsorted(ordered, scores, side="left") * bins // max(len(scores), 1)


def calibration_error(scores: np.ndarray, hits: np.ndarray, places: np.ndarray) -> float:
    """The expected calibration error (ECE): over bins, the mean of |mean score - share of hits|.

        ECE = sum over bins b of n_b / n |mean of the scores in b - share of hits in b|

    `places` [N] has the bin of each score.

    >>> scores, hits = np.array([0.9, 0.7]), np.array([1.0, 0.0])
    >>> round(calibration_error(scores, hits, equal_width(scores, 1)), 4)
    0.3
    """
    gaps = np.bincount(places, scores - hits)
    return float(np.abs(gaps).sum() / len(scores))


def error_by_chance(scores: np.ndarray, places: np.ndarray) -> float:
    """The ECE that perfectly calibrated scores are expected to have because the bins hold few images.

    The gap of a bin is then nearly normal with the variance sum of p (1 - p), and a normal number is
    sqrt(2 / pi) deviations from 0 on average.
    """
    spread = np.sqrt(np.bincount(places, scores * (1 - scores)))
    return float(math.sqrt(2 / math.pi) * spread.sum() / len(scores))


def class_errors(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The ECE of each class [K]: p_k against [y = k], in bins of equal mass; their mean is class-wise ECE.

    Kull et al., NeurIPS 2019, average over classes; Nixon et al. 2019 take bins of equal mass, because
    nearly all probabilities of a rare class are near 0.
    """
    return np.array(
        [
            calibration_error(column, (labels == k).astype(float), equal_mass(column, bins))
            for k, column in enumerate(probabilities.T)
        ]
    )


def class_errors_by_chance(probabilities: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The ECE that each class [K] is expected to have of perfectly calibrated probabilities."""
    return np.array([error_by_chance(column, equal_mass(column, bins)) for column in probabilities.T])


def mean_with_interval(values: np.ndarray, clusters: np.ndarray) -> Estimate:
    """The mean of a number of each image with its 95% interval; images of one group count together.

    The variance is that of the groups' sums, the quantile Student's t of as many groups less one. Below ten
    groups there is no interval.
    """
    groups = np.unique(clusters, return_inverse=True)[1]
    number, mean = int(groups.max()) + 1, float(values.mean())
    if number < FEWEST_GROUPS:
        return Estimate(value=mean, low=None, high=None)
    sums = np.bincount(groups, values - mean)
    spread = math.sqrt(number / (number - 1) * float((sums**2).sum())) / len(values)
    width = quantile(number - 1) * spread
    return Estimate(value=mean, low=mean - width, high=mean + width)
