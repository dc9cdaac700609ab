"""The temperature of a model: one number by which its logits are divided, fitted on validation.

Guo, Pleiss, Sun, Weinberger: "On calibration of modern neural networks", ICML 2017.

    T = argmin mean_i -log softmax(s_i / T + log r)_{y_i}

r is how often the images that it is fitted on have each class, relative to the frequency that the outputs
imply: pi for outputs that imply equally frequent classes, 1 else. So T answers how sure the model may be,
and not how frequent the classes are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

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


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean of -log softmax(s)_y."""
    own = logits[np.arange(len(labels)), labels]
    return float(np.mean(logsumexp(logits, axis=1) - own))
