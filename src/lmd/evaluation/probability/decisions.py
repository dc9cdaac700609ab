"""Ranking and decision: what a shift by the class prior changes, and how its strength tau is chosen.

With s the logits, pi the classes' shares of the training images and T the temperature of a model:

    p = softmax(s / T)                      for ranking: AUC, calibration
    d = softmax((s - tau log pi) / T)       for the decision, which is the class with the largest d

tau = 0 makes them equal. docs/tau.md says when to use which.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# What tau is chosen from, where validation chooses: 0, 0.05 ... 2.
GRID = tuple(round(0.05 * step, 2) for step in range(41))
# The width of the criterion's step, as a part of the standard deviation of the logits.
_WIDTH = 0.15
_LEAST = 1e-300  # A probability that was rounded to 0 has a logarithm, too.


def log_prior(counts: np.ndarray) -> np.ndarray:
    """Returns log pi [K]; a class without images counts as one of a single image.

    >>> np.exp(log_prior(np.array([3, 1]))).tolist()
    [0.75, 0.25]
    """
    present = np.maximum(np.asarray(counts, dtype=np.float64), 1.0)
    return np.log(present / present.sum())


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the softmax of logits [..., K] over the last axis, in double precision."""
    shifted = np.asarray(logits, dtype=np.float64)
    exponents = np.exp(shifted - shifted.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def decide(
    probabilities: np.ndarray, log_prior: np.ndarray, tau: float, temperature: float = 1.0
) -> np.ndarray:
    """Returns the decision probabilities d [N, K] of ranking probabilities p [N, K].

        d_k proportional to p_k pi_k^(-tau / T)

    which is softmax((s - tau log pi) / T) of the logits behind p.

    >>> decide(np.array([[0.75, 0.25]]), np.log([0.75, 0.25]), tau=1.0).round(6).tolist()
    [[0.5, 0.5]]
    """
    if tau == 0:
        return np.asarray(probabilities, dtype=np.float64)
    with np.errstate(divide="ignore"):  # A probability of 0 stays 0.
        logits = np.log(np.asarray(probabilities, dtype=np.float64))
    return softmax(logits - tau / temperature * log_prior)


def margins(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns s_y - max_{k != y} s_k of each case [N]: positive where the decision is right.

    >>> margins(np.array([[2.0, 0.5, 1.0], [2.0, 0.5, 1.0]]), np.array([0, 2])).tolist()
    [1.0, -1.0]
    """
    rows = np.arange(len(labels))
    others = np.array(logits, dtype=np.float64)
    own = others[rows, labels].copy()
    others[rows, labels] = -np.inf
    return own - others.max(1)


def logits_of(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns logits [N, K] behind probabilities softmax(s / T), each row with the mean 0."""
    logits = temperature * np.log(np.maximum(probabilities, _LEAST))
    return logits - logits.mean(1, keepdims=True)


def width_of(logits: np.ndarray) -> float:
    """Returns the criterion's step: .15 of the standard deviation of logits less the mean of their row.

    A number that is added to all logits of a case changes no probability, so it does not count here either.
    The width is then the same from a network's logits and from stored probabilities.

    >>> width_of(np.array([[1.0, -1.0], [9.0, 7.0]]))
    0.15
    """
    return _WIDTH * float(np.std(logits - logits.mean(1, keepdims=True)))


def sureness(logits: np.ndarray, labels: np.ndarray, width: float) -> np.ndarray:
    """Returns sigmoid(margin / width) of each case [N]; the mean over classes is the smoothed criterion."""
    found = margins(logits, labels) / max(width, np.finfo(np.float64).tiny)
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.clip(found, -1e3, 1e3))))  # It cannot overflow.


def margin_score(logits: np.ndarray, labels: np.ndarray, scale: float | None = None) -> float:
    """Returns the smoothed balanced accuracy: the mean over classes of the mean of sigmoid(margin / scale).

    Balanced accuracy counts a case as 0 or 1. With a dozen images of a class one of them moves it by points;
    here a case near the border counts for about a half. `scale` is `width_of` the logits, unless
    it is given. The mean runs over the classes that `labels` has.

    >>> round(margin_score(np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]]), np.array([0, 0, 1])), 4)
    0.875
    """
    width = width_of(logits) if scale is None else scale
    counts = np.bincount(labels)
    sums = np.bincount(labels, sureness(logits, labels, width))
    return float((sums[counts > 0] / counts[counts > 0]).mean())


def tau_scores(
    logits: np.ndarray, labels: np.ndarray, log_prior: np.ndarray, grid: Sequence[float] = GRID
) -> list[float]:
    """Returns the smoothed criterion of each tau of a grid, all with the scale of the unshifted logits."""
    scale = width_of(logits)
    return [margin_score(logits - tau * log_prior, labels, scale) for tau in grid]


def choose_tau(
    logits: np.ndarray, labels: np.ndarray, log_prior: np.ndarray, grid: Sequence[float] = GRID
) -> float:
    """Returns the tau of a grid with the best smoothed criterion; the first of equals wins.

    >>> logits, prior = np.array([[3.0, 0.0], [1.0, 0.5]]), np.log([0.9, 0.1])
    >>> choose_tau(logits, np.array([0, 1]), prior)  # The border between them: 2.2 tau from 0.5 to 3.
    0.8
    """
    scores = tau_scores(logits, labels, log_prior, grid)
    return grid[int(np.argmax(scores))]
