"""The shares of the classes among images without labels, estimated from a classifier's probabilities.

Expectation maximisation (Saerens, Latinne and Decaestecker 2002) finds the shares q that make the images
likeliest:

    q_k <- mean over images of q_k r_k(x) / sum over j of q_j r_j(x),   r_k(x) = p_k(x) / pi_k

with pi the shares that p implies. It rests on two things: the probabilities are calibrated, and the images of
a class look like those of the validation; only the shares differ. Then q is the maximum of a concave
likelihood, and its information says how sure q is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmd.errors import DataError
from lmd.evaluation.priors import refuse_absent
from lmd.evaluation.results import Estimate
from lmd.evaluation.score import quantile

_STEPS, _ENOUGH = 20_000, 1e-9
# Smallest singular value of the validation's confusion matrix: below SINGULAR the shares of two classes
# cannot be told apart, below DOUBTFUL they are poorly known.
SINGULAR, DOUBTFUL = 0.05, 0.2
_PRIOR = 0.5  # Images more of each class, so that a share of 0 has an interval.


@dataclass(frozen=True)
class Shares:
    """Estimated shares [K], their intervals, and what speaks against them."""

    values: np.ndarray
    estimates: list[Estimate]
    warnings: list[str]


def estimate_shares(probabilities: np.ndarray, implied: np.ndarray, clusters: np.ndarray) -> Shares:
    """Returns the shares of the classes among some images, from probabilities that imply other shares.

    Args:
        probabilities: unshifted and calibrated, [N, K].
        implied: the shares that they imply, [K].
        clusters: the group of each image; images of one group count together in the intervals.
    """
    ratios = probabilities / implied
    values = _maximised(ratios, implied)
    return Shares(values, _intervals(values, ratios, clusters), [])


def _maximised(ratios: np.ndarray, start: np.ndarray) -> np.ndarray:
    shares = start / start.sum()
    for _ in range(_STEPS):
        after = shares * (ratios / (ratios @ shares)[:, None]).mean(0)
        if np.abs(after - shares).max() < _ENOUGH:
            return after
        shares = after
    return shares


def _intervals(values: np.ndarray, ratios: np.ndarray, clusters: np.ndarray) -> list[Estimate]:
    """Of each share, from the information of the likelihood, on the log odds: so it stays within 0 to 1."""
    number, classes = ratios.shape
    inner = (number * values + _PRIOR) / (number + _PRIOR * classes)
    score = ratios / (ratios @ inner)[:, None]
    deviations = np.sqrt(np.maximum(np.diag(_covariance(score, clusters)), 1e-300))
    return [_on_logits(*each) for each in zip(values, inner, deviations, strict=True)]


def _covariance(score: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """The covariance of the shares, which sum to 1: inverse information, spread of groups, inverse again."""
    classes = score.shape[1]
    along = np.linalg.svd(np.ones((1, classes)))[2][1:].T  # Directions in which the sum does not change.
    inner = score @ along
    inverse = np.linalg.pinv(inner.T @ inner)
    groups = np.unique(clusters, return_inverse=True)[1]
    sums = np.stack([np.bincount(groups, column) for column in inner.T], axis=1)
    more = len(sums) / max(len(sums) - 1, 1)
    # Never less than without groups: of a few groups the spread of their sums says little.
    middle = sums.T @ sums * more if len(sums) < len(score) else inner.T @ inner
    return along @ inverse @ middle @ inverse @ along.T


def _on_logits(value: float, inner: float, deviation: float) -> Estimate:
    middle, width = math.log(inner / (1 - inner)), quantile() * deviation / (inner * (1 - inner))
    low, high = (
        1 / (1 + math.exp(-min(max(end, -700.0), 700.0))) for end in (middle - width, middle + width)
    )
    return Estimate(value=float(value), low=min(low, float(value)), high=max(high, float(value)))


def confusion_of(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The mean probabilities [K, K] of the images of each class (row); rows sum to 1."""
    classes = probabilities.shape[1]
    sums = np.stack([np.bincount(labels, column, classes) for column in probabilities.T], axis=1)
    return sums / np.bincount(labels, minlength=classes)[:, None]


def check_identifiable(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Returns what speaks against an estimate of shares, judged on validation.

    Raises:
        DataError: validation lacks a class, or two classes cannot be told apart.
    """
    refuse_absent(labels, classes, "an estimate of the shares")
    _, values, right = np.linalg.svd(confusion_of(labels, probabilities).T)
    smallest, direction = float(values[-1]), right[-1]
    if smallest >= DOUBTFUL:
        return []
    pair = [classes[int(direction.argmax())], classes[int(direction.argmin())]]
    told = (
        f"the model hardly tells '{pair[0]}' from '{pair[1]}' on validation (smallest singular value "
        f"{smallest:.3f} of the confusion matrix)"
    )
    if smallest < SINGULAR:
        raise DataError(
            f"{told}: their shares cannot be estimated; state the shares in a file (--prior FILE)"
        )
    return [f"{told}: their shares are poorly known"]
