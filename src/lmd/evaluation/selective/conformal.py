"""Split conformal prediction: thresholds from validation images, and the sets of classes that they give.

A class is in the set of an image if its probability is no smaller than the threshold of the class (LAC:
Sadinle, Lei, Wasserman 2019). The threshold lies so that at least the wanted share of the class's own images
has the class in its set (class-conditional, or Mondrian: Vovk 2012), whatever the model is worth.

LAC and not APS: no method with the same promise has smaller sets on average, it needs no random number, and
a threshold of each class is all there is to keep.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lmd.errors import SettingsError
from lmd.evaluation.intervals.score import LEVEL

Basis = Literal["class", "band", "all"]


@dataclass(frozen=True)
class Calibrated:
    """The threshold of a class, and what it rests on: `n` images in `groups` groups of the classes `of`.

    A class with the threshold 0 is in every set.
    """

    threshold: float
    basis: Basis
    of: tuple[int, ...]
    n: int
    groups: int


def check_level(level: float) -> None:
    """Refuses a share that no set can promise.

    Raises:
        SettingsError: it is not between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise SettingsError(
            f"the coverage of prediction sets = {level:g} must lie between 0 and 1, such as 0.9"
        )


def fewest(level: float) -> int:
    """Returns how many images (groups) a threshold needs: 1/alpha - 1, with alpha = 1 - level.

    >>> [fewest(level) for level in (0.5, 0.8, 0.9, 0.95)]
    [1, 4, 9, 19]
    """
    return math.ceil(level / (1 - level) - 1e-9)


def threshold_of(probabilities: np.ndarray, clusters: np.ndarray, level: float) -> float:
    """Returns the largest threshold that keeps its promise; 0 where there are too few images.

    `probabilities` [n] are those of the true class of calibration images. Without groups it is the
    ceil((n + 1) level)-th largest of them. The images of one group (patient, lesion) are not exchangeable
    with those of others, so each group counts as one image, and its images share this weight (Lee, Barber,
    Willett 2023). The promise is then that of a random image of a new group.

    >>> threshold_of(np.array([0.9, 0.8, 0.2, 0.7]), np.arange(4), level=0.5)  # The third of four.
    0.7
    >>> threshold_of(np.array([0.9, 0.8, 0.2, 0.7]), np.arange(4), level=0.9)
    0.0
    """
    if not len(probabilities):
        return 0.0
    _, group, size = np.unique(clusters, return_inverse=True, return_counts=True)
    order = np.argsort(-probabilities, kind="stable")
    weight = np.cumsum((1 / size)[group][order])
    enough = weight >= (len(size) + 1) * level - 1e-9
    return float(probabilities[order][enough.argmax()]) if enough[-1] else 0.0


def calibrate(
    labels: np.ndarray,
    probabilities: np.ndarray,
    clusters: np.ndarray,
    bands: Mapping[str, Sequence[int]],
    level: float,
) -> list[Calibrated]:
    """Returns the threshold of each class, from calibration images with labels [n], probabilities [n, K].

    A class with enough images has its own. The others of its frequency band share one where they have enough
    together; it keeps its promise for these classes together. What is left has the threshold of all images.

    Raises:
        SettingsError: the level is not between 0 and 1.
    """
    check_level(level)
    truth = probabilities[np.arange(len(labels)), labels]
    found: dict[int, Calibrated] = {}

    def take(members: Sequence[int], of: Sequence[int], basis: Basis) -> None:
        rows = np.isin(labels, of)
        groups = len(np.unique(clusters[rows]))
        if basis == "all" or groups >= fewest(level):
            at = threshold_of(truth[rows], clusters[rows], level)
            found.update(dict.fromkeys(members, Calibrated(at, basis, tuple(of), int(rows.sum()), groups)))

    classes = range(probabilities.shape[1])
    for k in classes:
        take([k], [k], "class")
    for band in bands.values():
        rest = [k for k in band if k not in found]
        take(rest, rest, "band")
    take([k for k in classes if k not in found], list(classes), "all")
    return [found[k] for k in classes]


def members(probabilities: np.ndarray, predicted: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Returns which classes are in the set of each image [N, K].

    The predicted class always is, so that no set is empty and none leaves out the answer. That can only
    raise the coverage.

    >>> members(np.array([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2]]), np.array([0, 0]), np.array([0.5, 0.3, 0.15]))
    array([[ True, False, False],
           [ True,  True,  True]])
    """
    inside = probabilities >= thresholds
    inside[np.arange(len(predicted)), predicted] = True
    return inside


def likely_coverage(n: int, level: float) -> tuple[float, float]:
    """Returns between which limits the coverage lies for 95 of 100 draws of n calibration images.

    The promise is a mean over such draws. For one of them the coverage follows a beta distribution with
    r = ceil((n + 1) level) and n + 1 - r (Vovk 2012), where no two probabilities are equal.

    >>> low, high = likely_coverage(9, 0.9)  # The smallest of nine: P(coverage < x) = x^9.
    >>> round(low**9, 6), round(high**9, 6)
    (0.025, 0.975)
    """
    rank = min(math.ceil((n + 1) * level - 1e-9), n)
    tail = (1 - LEVEL) / 2
    return _beta_quantile(tail, rank, n), _beta_quantile(1 - tail, rank, n)


def _beta_quantile(share: float, rank: int, n: int) -> float:
    """The quantile of Beta(r, n + 1 - r), whose share below x is P(at least r of n hits at rate x)."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_least(rank, n, middle) < share else (low, middle)
    return (low + high) / 2


def _at_least(rank: int, n: int, rate: float) -> float:
    """P(at least so many of n hits), with logarithms: n may be large."""
    hits = np.arange(rank, n + 1)
    ways = np.array([math.lgamma(n + 1) - math.lgamma(h + 1) - math.lgamma(n - h + 1) for h in hits])
    return float(np.exp(ways + hits * math.log(rate) + (n - hits) * math.log1p(-rate)).sum())
