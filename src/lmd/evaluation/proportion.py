"""A share of images with its interval, the same as that of a recall."""

from __future__ import annotations

import numpy as np

from lmd.evaluation import influence
from lmd.evaluation.results import Estimate
from lmd.evaluation.uncertainty import Measured, Sample, too_few

_ALL_IN_ONE = np.array([1.0, 0.0])  # Weights of two classes, of which one has all images.


def share_of(hits: np.ndarray, clusters: np.ndarray) -> Estimate:
    """Returns the share of hits among images, with its 95% interval; images of one group count together.

    It is undefined without images, and has no interval where there is one group alone.

    >>> print(share_of(np.array([1, 1, 1, 0]), np.arange(4)))
    0.750 [0.301, 0.987]
    """
    number = len(hits)
    if number == 0:
        return Estimate(value=None, low=None, high=None)
    labels, taken = np.zeros(number, dtype=np.int64), np.asarray(hits, dtype=float)
    matrix = influence.smoothed(np.array([[taken.sum(), number - taken.sum()], [0.0, 0.0]]))
    found = influence.of_recalls(labels, taken, matrix, _ALL_IN_ONE)
    sample = Sample.of(labels, clusters)
    groups = sample.groups(1)
    reason = too_few("recall", groups, grouped=bool(groups[0] < number))
    return Measured(float(taken.mean()), sample, found, reason=reason).estimate()
