"""The temperature of a model: one number by which its logits are divided, fitted on validation.

Guo, Pleiss, Sun, Weinberger: "On calibration of modern neural networks", ICML 2017.

    T = argmin mean_i -log softmax(s_i / T + log r)_{y_i}

r is how often the images that it is fitted on have each class, relative to the frequency that the outputs
imply. So T answers how sure the model may be, and not how frequent the classes are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from lmd.evaluation.probability.calibration import all_right, fit
from lmd.evaluation.probability.decisions import log_prior, softmax
from lmd.model_card import Prior

# Beyond these a temperature says that validation has no answer, as where every image is right.
LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(logits: np.ndarray, labels: np.ndarray, offset: np.ndarray | float = 0.0) -> float | None:
    """Returns the temperature of logits [N, K] with the least negative log-likelihood of the labels [N].

    `offset` [K] is added to the logits after the division: log r. None where no temperature within bounds is
    the best, because all images are right, or because the logits say nothing.

    >>> logits = np.log([[0.99, 0.01], [0.99, 0.01], [0.01, 0.99], [0.99, 0.01]])
    >>> round(fit_temperature(logits, np.array([0, 0, 1, 1])), 2)  # Three of four are right, not 99 of 100.
    4.18
    """

    def loss(log: float) -> float:
        return negative_log_likelihood(logits / np.exp(log) + offset, labels)

    bounds = (np.log(LOWEST), np.log(HIGHEST))
    found: Any = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    temperature = float(np.exp(found.x))
    inside = LOWEST * 1.01 < temperature < HIGHEST / 1.01
    return temperature if inside and found.fun < min(map(loss, bounds)) else None


def temperature_for(prior: Prior, logits: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> float | None:
    """Returns the temperature of logits that imply a prior; `counts` are the training images of each class.

    Where the prior is unknown, a bias for each class is fitted beside the temperature and left out again:
    otherwise the temperature answers for the shares. This needs validation images of every class.
    """
    number = np.bincount(labels, minlength=len(counts))
    present = log_prior(number)
    if prior == "unknown" and number.all():
        return _beside_a_bias(logits, labels)
    offset = {"uniform": present, "training": present - log_prior(counts)}.get(prior, 0.0)
    return fit_temperature(logits, labels, offset)


def _beside_a_bias(logits: np.ndarray, labels: np.ndarray) -> float | None:
    probabilities = softmax(logits)
    temperature = fit("bias", labels, probabilities).temperature
    inside = LOWEST * 1.01 < temperature < HIGHEST / 1.01
    return temperature if inside and not all_right(labels, probabilities) else None


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean of -log softmax(s)_y."""
    own = logits[np.arange(len(labels)), labels]
    return float(np.mean(logsumexp(logits, axis=1) - own))
