"""Priors: how frequent each class is taken to be, and what that does to probabilities.

A classifier's probabilities imply the shares of the cases that it fits. Where the images of a class look the
same everywhere and only the shares differ, the probabilities elsewhere follow (Saerens et al. 2002):

    p'_k(x) = p_k(x) w_k / pi_k / sum over j of p_j(x) w_j / pi_j

with pi the shares that p implies, and w those that are wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lmd.errors import DataError
from lmd.evaluation.probability.calibration import Calibration, fit
from lmd.evaluation.probability.decisions import log_prior
from lmd.text import listed

Declared = Literal["training", "uniform", "unknown"]
FEW = 5  # Validation images of a class below which its bias is hardly known.


def shares_of(counts: np.ndarray) -> np.ndarray:
    """The share of each class [K]; a class without images counts as one of a single image.

    >>> shares_of(np.array([3, 1])).round(9).tolist()
    [0.75, 0.25]
    """
    return np.exp(log_prior(counts))


def shifted(probabilities: np.ndarray, implied: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns the probabilities [N, K] where the classes have other shares than those that they imply.

    A class that is wanted to have no share has the probability 0.

    >>> shifted(np.array([[0.5, 0.5]]), np.array([0.5, 0.5]), np.array([0.9, 0.1])).tolist()
    [[0.9, 0.1]]
    """
    weighted = probabilities * (wanted / implied)
    total = weighted.sum(1, keepdims=True)
    # Where all that was possible has no share: what is left is the prior itself.
    return np.where(total > 0, weighted / np.where(total > 0, total, 1), wanted)


def refuse_absent(labels: np.ndarray, classes: Sequence[str], purpose: str) -> None:
    """Refuses validation images without one of some class.

    Raises:
        DataError: the classes, and what they are needed for.
    """
    counts = np.bincount(labels, minlength=len(classes))
    absent = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if absent:
        raise DataError(
            f"{purpose} needs validation images of every class; there are none of {listed(absent)}"
        )


def with_known_prior(
    labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> tuple[Calibration, np.ndarray]:
    """Returns a bias by class, fitted on validation, and the shares that the probabilities then imply.

    It is for probabilities of which it is unknown what they imply. With a free bias for each class the mean
    probability of a class equals its share of the images that the bias was fitted on. So they imply those.

    Raises:
        DataError: validation lacks a class.
    """
    refuse_absent(labels, classes, "a bias by class")
    counts = np.bincount(labels, minlength=len(classes))
    return fit("bias", labels, probabilities), counts / counts.sum()
