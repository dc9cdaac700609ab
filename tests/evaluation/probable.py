"""Cases with known probabilities for the tests of calibration, priors and thresholds."""

from __future__ import annotations

import numpy as np

SHARES = np.array([0.7, 0.2, 0.1])
CLASSES = ["common", "less", "rare"]


def drawn(
    number: int, shares: np.ndarray = SHARES, seed: int = 0, gap: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels [N] and the true log likelihoods [N, K] of normal classes, `gap` deviations apart."""
    random = np.random.default_rng(seed)
    labels = np.r_[np.arange(len(shares)), random.choice(len(shares), number - len(shares), p=shares)]
    points = random.normal(size=(number, len(shares))) + gap * np.eye(len(shares))[labels]
    return labels, gap * points


def posterior(log_likelihoods: np.ndarray, shares: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Returns the posterior at some shares; at another temperature than 1 it is over- or under-confident."""
    logits = (log_likelihoods + np.log(shares)) / temperature
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)
