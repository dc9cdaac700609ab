"""What the column `unlike` says of a split: how many images are unlike what was seen, and how often right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmd.evaluation.cases import Cases
from lmd.evaluation.intervals.shares import share_of
from lmd.evaluation.parts import Estimate
from lmd.settings import Settings

USUAL = 0.99  # An image is called unlike what was seen from this share of the validation images on.
METHOD = (
    "Mahalanobis distance of the features' direction to the nearest class, with the mean of the classes' "
    "covariances, and the length of the features; as the share of the validation images that are less unlike"
)


class UnlikenessResult(Settings):
    """Images of a split that are more unlike anything seen than 99% of the validation images."""

    method: str
    unlike_n: int
    share: Estimate
    """of all images; about 1% where they are like those of validation"""
    accuracy_unlike: Estimate
    """share of right answers among these images"""
    accuracy_usual: Estimate
    """and among all others"""
    of_class: dict[str, int]
    """these images by their class; classes without one are left out"""


def unlikeness_result(cases: Cases, unlike: np.ndarray, classes: Sequence[str]) -> UnlikenessResult:
    """Returns what the shares `unlike` [N] say of some cases, which are in the same order."""
    far = unlike >= USUAL
    right = cases.predicted == cases.labels
    counts = np.bincount(cases.labels[far], minlength=len(classes)).tolist()
    return UnlikenessResult(
        method=METHOD,
        unlike_n=int(far.sum()),
        share=share_of(far, cases.clusters),
        accuracy_unlike=share_of(right[far], cases.clusters[far]),
        accuracy_usual=share_of(right[~far], cases.clusters[~far]),
        of_class={name: n for name, n in zip(classes, counts, strict=True) if n},
    )
