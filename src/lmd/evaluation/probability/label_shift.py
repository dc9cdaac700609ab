"""The shares of the classes among images without labels, estimated from a classifier's probabilities.

Expectation maximisation (Saerens, Latinne and Decaestecker 2002) finds the shares q that make the images
likeliest:

    q_k <- mean over images of q_k r_k(x) / sum over j of q_j r_j(x),   r_k(x) = p_k(x) / pi_k

with pi the shares that p implies. It rests on two things: the probabilities are calibrated, and the images of
a class look like those of the validation; only the shares differ. Then q is the maximum of a concave
likelihood. Its information, and that of the calibration, say how sure q is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmd.errors import DataError
from lmd.evaluation.intervals.score import quantile, wilson
from lmd.evaluation.parts import Estimate
from lmd.evaluation.probability.calibration import Calibration, Fit, fitted, of_groups
from lmd.evaluation.probability.priors import refuse_absent

_STEPS, _ENOUGH = 20_000, 1e-9
# Smallest singular value of the validation's confusion matrix: below SINGULAR the shares of two classes
# cannot be told apart, below DOUBTFUL they are poorly known.
SINGULAR, DOUBTFUL = 0.02, 0.1
_PRIOR = 0.5  # Images more of each class, so that a share of 0 has an interval.


@dataclass(frozen=True)
class Shares:
    """Estimated shares [K], their intervals, and what speaks against them."""

    values: np.ndarray
    estimates: list[Estimate]
    warnings: list[str]


def estimate_shares(
    probabilities: np.ndarray,
    clusters: np.ndarray,
    labels: np.ndarray,
    validation: np.ndarray,
    classes: Sequence[str],
    groups: np.ndarray | None = None,
) -> tuple[Shares, Calibration]:
    """Returns the shares of the classes among some images, and the calibration that the estimate rests on.

    Vector scaling is fitted on validation first. An estimate from temperature scaling alone was twice as far
    off (docs/probabilities.md). The intervals count how sure both are: the images, and the calibration.

    Args:
        probabilities: unshifted, of the images without labels, [N, K].
        clusters: the group of each of them; images of one group count together in the intervals.
        labels: the classes of the validation images.
        validation: their probabilities, by the same model.
        classes: the names of the classes.
        groups: the group of each validation image; None where each is its own.

    Raises:
        DataError: validation lacks a class, or two classes cannot be told apart.
    """
    warnings = check_identifiable(labels, validation, classes)
    made = fitted("vector", labels, validation)
    implied = np.bincount(labels, minlength=len(classes)) / len(labels)
    values = maximised(made.calibration(probabilities) / implied, implied)
    inner = (len(probabilities) * values + _PRIOR) / (len(probabilities) + _PRIOR * len(classes))
    deviations = _deviations(made, probabilities, implied, inner, clusters, groups)
    number = len(np.unique(clusters))
    estimates = [_interval(*each, number) for each in zip(values, deviations, strict=True)]
    return Shares(values, estimates, warnings), made.calibration


def maximised(ratios: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Returns the shares [K] that make images likeliest whose classes have likelihood ratios [N, K].

    >>> maximised(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([0.5, 0.5])).round(4).tolist()
    [0.6667, 0.3333]
    """
    shares = start / start.sum()
    for _ in range(_STEPS):
        after = shares * (ratios / (ratios @ shares)[:, None]).mean(0)
        if np.abs(after - shares).max() < _ENOUGH:
            return after
        shares = after
    return shares


def _deviations(
    made: Fit,
    probabilities: np.ndarray,
    implied: np.ndarray,
    shares: np.ndarray,
    clusters: np.ndarray,
    groups: np.ndarray | None,
) -> np.ndarray:
    """The standard deviations of the shares [K], which sum to 1: from the images and from the calibration.

    score_k(x) = r_k(x) / sum over j of q_j r_j(x) is the derivative of an image's log likelihood. A few
    groups of validation may show less spread than there is. So the larger of two variances stands: that by
    groups, and that as if each validation image were its own.
    """

    def score(theta: np.ndarray) -> np.ndarray:
        ratios = made.at(theta)(probabilities) / implied
        return ratios / (ratios @ shares)[:, None]

    along = np.linalg.svd(np.ones((1, len(shares))))[2][1:].T  # Directions that keep the sum.
    own = score(made.theta) @ along
    inverse = np.linalg.pinv(own.T @ own)
    step = 1e-5
    moves = step * np.eye(len(made.theta))
    by_theta = [(score(made.theta + move) - score(made.theta - move)).sum(0) / (2 * step) for move in moves]
    by_calibration = along.T @ np.stack(by_theta, axis=1)

    def variances(of_calibration: np.ndarray) -> np.ndarray:
        middle = of_groups(own, clusters) + by_calibration @ of_calibration @ by_calibration.T
        return np.diag(along @ inverse @ middle @ inverse @ along.T)

    found = variances(made.covariance())
    if groups is not None:
        found = np.maximum(found, variances(made.covariance(groups)))
    return np.sqrt(np.maximum(found, 0.0))


def _interval(value: float, deviation: float, groups: int) -> Estimate:
    """The interval of a share: no narrower than if the class of each image were known."""
    width = quantile() * deviation
    low, high = wilson(value, groups, quantile())
    low, high = min(float(low), value - width), max(float(high), value + width)
    return Estimate(value=float(value), low=max(low, 0.0), high=min(high, 1.0))


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
