"""A share of images, such as those whose set holds the true class, with its interval."""

from __future__ import annotations

import numpy as np

from lmd.evaluation.intervals.measured import AllMetrics
from lmd.evaluation.intervals.uncertainty import Sample
from lmd.evaluation.parts import Estimate


def share_of(hits: np.ndarray, clusters: np.ndarray) -> Estimate:
    """Returns the share of images that are hits [N], with the interval of a recall.

    Images of one cluster (patient, lesion) count together. None of no image.

    >>> print(share_of(np.array([True, True, True, False]), np.arange(4)))
    0.750 [0.301, 0.987]
    """
    if not len(hits):
        return Estimate(value=None, low=None, high=None)
    as_class = np.stack([hits, ~hits.astype(bool)], axis=1).astype(float)
    one = Sample.of(np.zeros(len(hits), dtype=np.int64), clusters)
    return AllMetrics(one, as_class).over("recall", [0]).estimate()
