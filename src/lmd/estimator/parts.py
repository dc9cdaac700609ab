"""Parts of the training data that are held out in turn."""

from __future__ import annotations

import numpy as np

FOLDS = 5  # In which each image is held out once.


def held_out_parts(labels: np.ndarray, seed: int) -> np.ndarray:
    """Returns in which of FOLDS parts each image is held out [N]; -1 for the only image of a class.

    Each class is spread evenly over the parts, so that no training part lacks one.
    """
    random = np.random.default_rng(seed)
    parts = np.full(len(labels), -1)
    for k in np.unique(labels):
        rows = np.flatnonzero(labels == k)
        if len(rows) > 1:
            parts[rows] = random.permutation(len(rows)) % FOLDS
    return parts
