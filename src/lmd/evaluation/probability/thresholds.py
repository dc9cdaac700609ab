"""A threshold for the probability of a class, chosen on validation for a wanted sensitivity.

The class is said to be there where p_k >= t. Take the r-th smallest p_k of n validation images of the class
as t. New images of the class then have the sensitivity (n + 1 - r) / (n + 1) on average. With a certainty of
95% it is at least the 5% quantile of Beta(n + 1 - r, r), whatever the distribution is (order statistics). So
a few images cannot promise much: the smallest of n gives n / (n + 1) on average.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lmd.evaluation.selective.conformal import threshold_of

CERTAINTY = 0.95


@dataclass(frozen=True)
class Threshold:
    """A threshold, and the sensitivity that it has on average and with a certainty of 95%.

    `value` is None where the images do not allow the wanted sensitivity; `reason` then says why.
    """

    value: float | None
    images: int
    groups: int
    expected: float | None = None
    assured: float | None = None
    reason: str | None = None


def threshold_for(scores: np.ndarray, clusters: np.ndarray, wanted: float) -> Threshold:
    """Returns the largest threshold with which a class has the wanted sensitivity on new images, on average.

    Args:
        scores: the probabilities of the class, of the validation images of this class alone [n].
        clusters: the group of each of them. Each group counts as one image, and its images share this weight,
            as in prediction sets. `assured` then holds for groups of one image, and nearly for others.
        wanted: the sensitivity, above 0 and below 1.

    >>> threshold_for(np.arange(1, 20) / 20, np.arange(19), 0.9).value
    0.1
    """
    images, groups = len(scores), len(np.unique(clusters))
    missed = math.floor((groups + 1) * (1 - wanted) + 1e-9)
    if missed < 1:
        return Threshold(None, images, groups, reason=_too_few(groups, images, wanted))
    value = threshold_of(scores, clusters, wanted)
    expected = (groups + 1 - missed) / (groups + 1)
    return Threshold(value, images, groups, expected, assured(groups, missed))


def assured(number: int, missed: int) -> float:
    """The sensitivity that the threshold at the smallest but `missed` - 1 of so many images has for sure.

    >>> round(assured(59, 1), 3), round(assured(20, 1), 3)
    (0.95, 0.861)
    """
    from scipy.special import betaincinv  # Here, because it takes a moment to load.

    return float(betaincinv(number + 1 - missed, missed, 1 - CERTAINTY))


def images_needed(wanted: float) -> int:
    """How many images of a class a sensitivity needs on average.

    >>> images_needed(0.95), images_needed(0.99)
    (19, 99)
    """
    return math.ceil(wanted / (1 - wanted) - 1e-9)


def images_to_be_sure(wanted: float) -> int:
    """How many images of a class a sensitivity needs for a certainty of 95%.

    >>> images_to_be_sure(0.95), images_to_be_sure(0.99)
    (59, 299)
    """
    return math.ceil(math.log(1 - CERTAINTY) / math.log(wanted) - 1e-9)


def _too_few(groups: int, images: int, wanted: float) -> str:
    noun = "images" if groups == images else "groups of images"
    most = f"; {groups} can give {groups / (groups + 1):.3f} on average" if groups else ""
    return (
        f"{groups} validation {noun} of the class cannot promise a sensitivity of {wanted:g}: it takes "
        f"{images_needed(wanted)}, and {images_to_be_sure(wanted)} to be sure of it{most}"
    )
