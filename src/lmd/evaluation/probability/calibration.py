"""Probability calibration: temperature, bias by class and vector scaling, fitted on held-out cases.

All are maps of log probabilities z = log p, softmax(w z + b), and all are fitted by the mean log loss:

    temperature   w = 1 / T for every class, b = 0               (Guo et al., ICML 2017)
    bias          w = 1 / T, b free: the outputs then imply the shares of the cases that they were fitted on
                                                                 (Alexandari et al., ICML 2020)
    vector        w and b free, with a normal prior of variance 1 around w = 1 and b = 0

On log probabilities vector scaling is the diagonal form of Dirichlet calibration (Kull et al., NeurIPS 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lmd.evaluation.probability.decisions import softmax
from lmd.evaluation.probability.metrics import TINY

Kind = Literal["temperature", "bias", "vector"]
_RANGE = (0.01, 20.0)  # Of w = 1 / T.


@dataclass(frozen=True)
class Calibration:
    """A map of probabilities: softmax(scale log p + bias), with a scale and a bias for each class [K]."""

    scale: np.ndarray
    bias: np.ndarray

    @property
    def temperature(self) -> float:
        """T = 1 / scale, where all classes have one; of vector scaling that of their mean."""
        return float(1 / self.scale.mean())

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns the calibrated probabilities [N, K]."""
        return softmax(self.scale * log_of(probabilities) + self.bias)


def log_of(probabilities: np.ndarray) -> np.ndarray:
    """The logarithm of probabilities, finite where one is 0."""
    return np.log(np.maximum(probabilities, TINY))


def all_right(labels: np.ndarray, probabilities: np.ndarray) -> bool:
    """Returns whether the largest probability is the right one in all cases.

    Such cases bound no temperature from below: the more confident, the better they look.
    """
    return bool((probabilities.argmax(1) == labels).all())


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities softmax(log p / T).

    >>> at_temperature(np.array([[0.8, 0.2]]), 0.5).round(4).tolist()
    [[0.9412, 0.0588]]
    """
    return softmax(log_of(probabilities) / temperature)


@dataclass(frozen=True)
class Fit:
    """A calibration that was fitted: its parameters [P], how sure they are, and the map that they make."""

    theta: np.ndarray
    unpack: np.ndarray
    cases: _Cases

    @property
    def calibration(self) -> Calibration:
        """The calibration of the fitted parameters."""
        return self.at(self.theta)

    def at(self, theta: np.ndarray) -> Calibration:
        """Returns the calibration of some parameters."""
        scale, bias = self.unpack @ theta
        return Calibration(scale, bias - bias.mean())

    def covariance(self, clusters: np.ndarray | None = None) -> np.ndarray:
        """Returns the covariance of the parameters [P, P].

        Without groups it is the inverse information of the cases. With `clusters` [N], the group of each
        case, it is the sandwich A^-1 B A^-1: A is the information, and B the sum over groups of the squared
        sum of their scores. So images that are alike do not count as often as they come. The prior's
        information is in A and in B, so that both forms agree where each case is its own group.
        """
        inverse = np.linalg.pinv(self._information(), rcond=1e-6)
        if clusters is None:
            return inverse
        middle = of_groups(self._scores(), clusters) + self.cases.prior * self._by_parameter()
        return inverse @ middle @ inverse

    def _information(self) -> np.ndarray:
        step = 1e-5
        moves = step * np.eye(len(self.theta))
        rows = [self._gradient(self.theta + move) - self._gradient(self.theta - move) for move in moves]
        curvature = np.stack(rows) / (2 * step)
        return len(self.cases.z) * (curvature + curvature.T) / 2

    def _scores(self) -> np.ndarray:
        """The derivatives of each case's log loss by the parameters [N, P]."""
        scale, bias = self.unpack @ self.theta
        error = softmax(scale * self.cases.z + bias + self.cases.offset) - self.cases.truth
        return (error * self.cases.z) @ self.unpack[0] + error @ self.unpack[1]

    def _by_parameter(self) -> np.ndarray:
        """The second derivatives of half the squared distance of scale and bias from the prior's centre."""
        return np.einsum("akp,akq->pq", self.unpack, self.unpack)

    def _gradient(self, theta: np.ndarray) -> np.ndarray:
        return self.cases.loss(theta, self.unpack)[1]


def of_groups(scores: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Returns the covariance of the sum of cases' scores [N, P]; those of one group count together.

    >>> of_groups(np.array([[1.0], [1.0], [-2.0]]), np.array([0, 0, 1])).tolist()  # (2^2 + 2^2) 2 / (2 - 1)
    [[16.0]]
    """
    groups = np.unique(clusters, return_inverse=True)[1]
    sums = np.stack([np.bincount(groups, column) for column in scores.T], axis=1)
    return sums.T @ sums * len(sums) / max(len(sums) - 1, 1)


def fit(
    kind: Kind, labels: np.ndarray, probabilities: np.ndarray, offset: np.ndarray | float = 0.0
) -> Calibration:
    """Returns the calibration of a kind that makes the mean log loss of some cases least.

    `offset` [K] is added to the logits while fitting: the log of the cases' shares less that of the shares
    that the probabilities imply. The temperature then does not answer for a change of shares.
    """
    return fitted(kind, labels, probabilities, offset).calibration


def fitted(
    kind: Kind, labels: np.ndarray, probabilities: np.ndarray, offset: np.ndarray | float = 0.0
) -> Fit:
    """Returns what `fit` does, with the parameters and how sure they are."""
    classes = probabilities.shape[1]
    unpack, start, bounds = _FORMS[kind](classes)
    cases = _Cases(log_of(probabilities), np.eye(classes)[labels], offset, 1.0 if kind == "vector" else 0.0)
    return Fit(_minimise(lambda theta: cases.loss(theta, unpack), start, bounds), unpack, cases)


def _minimise(loss: Callable[[np.ndarray], Any], start: np.ndarray, bounds: list[Any]) -> np.ndarray:
    from scipy.optimize import minimize  # Here, because it takes a moment to load.

    options = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 2000, "maxfun": 10000}
    found: Any = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return found.x


@dataclass(frozen=True)
class _Cases:
    """What a calibration is fitted on: log probabilities and truths [N, K], and how firm the prior is."""

    z: np.ndarray
    truth: np.ndarray
    offset: np.ndarray | float
    prior: float

    def loss(self, theta: np.ndarray, unpack: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the mean log loss with the prior's part, and its gradient."""
        scale, bias = unpack @ theta
        found = softmax(scale * self.z + bias + self.offset)
        number = len(self.z)
        value = -float(np.log(np.maximum((found * self.truth).sum(1), TINY)).mean())
        value += self.prior / (2 * number) * float(((scale - 1) ** 2).sum() + (bias**2).sum())
        error = (found - self.truth) / number
        by_scale = (error * self.z).sum(0) + self.prior / number * (scale - 1)
        by_bias = error.sum(0) + self.prior / number * bias
        return value, np.einsum("kp,k->p", unpack[0], by_scale) + np.einsum("kp,k->p", unpack[1], by_bias)


# Of each kind: how its parameters [P] become scale and bias [2, K, P], where they start, and their limits.
_Form = tuple[np.ndarray, np.ndarray, list[Any]]


def _temperature_form(classes: int) -> _Form:
    unpack = np.zeros((2, classes, 1))
    unpack[0, :, 0] = 1
    return unpack, np.ones(1), [_RANGE]


def _bias_form(classes: int) -> _Form:
    unpack = np.zeros((2, classes, classes + 1))
    unpack[0, :, 0] = 1
    unpack[1, :, 1:] = np.eye(classes)
    return unpack, np.r_[1.0, np.zeros(classes)], [_RANGE] + [(None, None)] * classes


def _vector_form(classes: int) -> _Form:
    unpack = np.zeros((2, classes, 2 * classes))
    unpack[0, :, :classes] = np.eye(classes)
    unpack[1, :, classes:] = np.eye(classes)
    return unpack, np.r_[np.ones(classes), np.zeros(classes)], [_RANGE] * classes + [(None, None)] * classes


_FORMS: dict[Kind, Callable[[int], _Form]] = {
    "temperature": _temperature_form,
    "bias": _bias_form,
    "vector": _vector_form,
}


def out_of_fold(
    kind: Kind,
    labels: np.ndarray,
    probabilities: np.ndarray,
    clusters: np.ndarray,
    offset: np.ndarray | float = 0.0,
    folds: int = 5,
) -> np.ndarray:
    """Returns probabilities that are each calibrated on the cases of other groups [N, K].

    `offset` is that of `fit`.

    Groups go to folds in turn, in the order of the class and the place of their first image, so that each
    fold has images of each class as far as there are enough.
    """
    groups = np.unique(clusters, return_inverse=True)[1]
    first = np.unique(groups, return_index=True)[1]
    order = np.lexsort((first, labels[first]))
    fold = np.empty(len(first), dtype=np.int64)
    fold[order] = np.arange(len(first)) % max(min(folds, len(first)), 2)
    place = fold[groups]
    found = np.empty_like(probabilities)
    for number in np.unique(place):
        rest = place != number
        found[~rest] = fit(kind, labels[rest], probabilities[rest], offset)(probabilities[~rest])
    return found
