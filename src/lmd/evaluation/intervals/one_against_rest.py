"""A class against all others: sensitivity, specificity, PPV and NPV with their intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lmd.evaluation.intervals.measured import AllMetrics
from lmd.evaluation.intervals.uncertainty import Sample
from lmd.evaluation.results import Estimate


class Against(NamedTuple):
    """The four numbers of a class, and the counts that they are shares of."""

    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    images: int
    """images of the class"""
    others: int
    """images of the other classes"""
    found: int
    """images of the class that are taken for it"""
    called: int
    """all images that are taken for it"""


_UNDEFINED = Estimate(value=None, low=None, high=None)


def against_rest(labels: np.ndarray, predicted: np.ndarray, clusters: np.ndarray, k: int) -> Against:
    """Returns what the answers are worth for class k, taken as a question of yes or no.

    A share of nothing is undefined: the PPV of a class that is never named, the sensitivity of one without
    images.
    """
    truth, said = labels == k, predicted == k
    metrics = AllMetrics(Sample.of(truth.astype(np.int64), clusters), np.eye(2)[said.astype(np.int64)])

    def share(metric: str, side: int, of: int) -> Estimate:
        return metrics.over(metric, [side]).estimate() if of else _UNDEFINED

    images, called, total = int(truth.sum()), int(said.sum()), len(labels)
    return Against(
        sensitivity=share("recall", 1, images),
        specificity=share("recall", 0, total - images),
        ppv=share("precision", 1, called if images else 0),
        npv=share("precision", 0, total - called if images < total else 0),
        images=images,
        others=total - images,
        found=int((truth & said).sum()),
        called=called,
    )
