"""A class against all others: sensitivity, specificity, PPV and NPV with their intervals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lmd.evaluation.intervals.shares import share_of
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


def against_rest(labels: np.ndarray, predicted: np.ndarray, clusters: np.ndarray, k: int) -> Against:
    """Returns what the answers are worth for class k, taken as a question of yes or no.

    Each is a share of some images: those of the class, of the other classes, that are taken for it, or that
    are not. So each has the interval of a share, as a threshold has (docs/statistics.md). A share of nothing
    is undefined: the PPV of a class that is never named, the sensitivity of one without images.
    """
    truth, said = labels == k, predicted == k

    def share(hits: np.ndarray, rows: np.ndarray) -> Estimate:
        return share_of(hits[rows], clusters[rows])

    return Against(
        sensitivity=share(said, truth),
        specificity=share(~said, ~truth),
        ppv=share(truth, said & truth.any()),
        npv=share(~truth, ~said & (not truth.all())),
        images=int(truth.sum()),
        others=int((~truth).sum()),
        found=int((truth & said).sum()),
        called=int(said.sum()),
    )
