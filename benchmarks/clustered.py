"""Cases in groups (patients, lesions) with known probabilities, and how often intervals of shares hold them.

A group has one class. Its images share a part of what makes them hard: `alike` of the variance of their
points. The model is over-confident, and implies other shares than validation has. So it needs a calibration,
which knows only as much as there are groups.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lmd.evaluation.probability.decisions import softmax
from lmd.evaluation.probability.label_shift import estimate_shares

CLASSES = ("common", "less", "rare")
SHARES, ELSEWHERE, IMPLIED = np.array([0.7, 0.2, 0.1]), np.array([0.2, 0.3, 0.5]), np.array([0.5, 0.3, 0.2])
GAP, SHARP = 2.0, 0.5  # Deviations between two classes; the temperature that makes the model too sure.
FEWEST = 2  # Groups of each class at least.


class Groups(NamedTuple):
    """How many groups are drawn, how many images each has (from, to), and how alike these are (0 to 1)."""

    number: int
    sizes: tuple[int, int] = (1, 1)
    alike: float = 0.5


class Drawn(NamedTuple):
    """Drawn cases: their classes [N], the model's probabilities [N, K], and their groups [N]."""

    labels: np.ndarray
    probabilities: np.ndarray
    clusters: np.ndarray


def drawn(groups: Groups, shares: np.ndarray, random: np.random.Generator) -> Drawn:
    """Returns cases of classes with these shares; each class has two groups at least."""
    number, classes = groups.number, len(shares)
    first = np.tile(np.arange(classes), FEWEST)
    of_group = np.r_[first, random.choice(classes, number - len(first), p=shares)]
    sizes = random.integers(groups.sizes[0], groups.sizes[1] + 1, number)
    clusters = np.repeat(np.arange(number), sizes)
    labels = of_group[clusters]
    common, own = (random.normal(size=(some, classes)) for some in (number, len(labels)))
    points = np.sqrt(groups.alike) * common[clusters] + np.sqrt(1 - groups.alike) * own
    likelihoods = GAP * (points + GAP * np.eye(classes)[labels])
    return Drawn(labels, softmax((likelihoods + np.log(IMPLIED)) / SHARP), clusters)


def shares_held(
    validation: Groups, elsewhere: Groups, repetitions: int, seed: int = 0, by_group: bool = True
) -> float:
    """Returns how often the 95% intervals of estimated shares hold the true ones: a part of 1.

    Args:
        validation: the images that the calibration is fitted on.
        elsewhere: the images without labels, with other shares.
        repetitions: how many times both are drawn.
        seed: of the draws.
        by_group: whether the intervals know the groups of validation.
    """
    held: list[bool] = []
    for number in range(repetitions):
        random = np.random.default_rng([seed, number])
        val, new = drawn(validation, SHARES, random), drawn(elsewhere, ELSEWHERE, random)
        known = val.clusters if by_group else None
        cases = new.probabilities, new.clusters, val.labels, val.probabilities
        found, _ = estimate_shares(*cases, list(CLASSES), known)
        held += [one.low <= true <= one.high for one, true in zip(found.estimates, ELSEWHERE, strict=True)]
    return float(np.mean(held))
