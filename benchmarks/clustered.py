"""Cases in groups (patients, lesions) with known probabilities, and how often intervals hold the truth.

    python -m benchmarks.clustered    # the table of estimated shares in docs/probabilities.md, and PPV

A group has one class. Its images share a part of what makes them hard: `alike` of the variance of their
points. The model is over-confident, and implies other shares than validation has. So it needs a calibration,
which knows only as much as there are groups.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from lmd.evaluation.intervals.shares import share_of
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


VALIDATION = (
    Groups(500),
    Groups(100),
    *(Groups(100, (1, 4), alike) for alike in (0.5, 0.9)),
    *(Groups(60, (8, 8), alike) for alike in (0.5, 0.9)),
    *(Groups(60, (1, 15), alike) for alike in (0.5, 0.9)),
    Groups(300, (1, 15), 0.9),
)
# Of a PPV: groups of the class and of others; recalls, and shares of false alarms.
BOTH = ((5, 100), (10, 100), (20, 200), (50, 300), (50, 50))
RECALLS, ALARMS = (0.3, 0.7, 0.95), (0.02, 0.1, 0.3)
REPETITIONS, ELSEWHERE_IMAGES = 400, 2000


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


def ppv_held(
    own: int, others: int, rates: tuple[float, float], largest: int, repetitions: int, seed: int = 1
) -> float:
    """Returns how often the 95% interval of a PPV holds the true one, where the images of classes are fixed.

    Args:
        own: groups of the class.
        others: groups of the other classes.
        rates: the recall of the class, and the share of other images that are taken for it.
        largest: a group has 1 to so many images, which share half of what makes them hard.
        repetitions: how many times images are drawn.
        seed: of the draws.
    """
    random, held = np.random.default_rng(seed), list[bool]()
    of_group = np.repeat([True, False], [own, others])
    true = own * rates[0] / (own * rates[0] + others * rates[1])
    limits = norm.ppf(np.where(of_group, *rates))
    for _ in range(repetitions):
        clusters = np.repeat(np.arange(own + others), random.integers(1, largest + 1, own + others))
        common, alone = random.normal(size=own + others), random.normal(size=len(clusters))
        points = np.sqrt(0.5) * (common[clusters] + alone) if largest > 1 else alone
        taken = points < limits[clusters]
        found = share_of(of_group[clusters][taken], clusters[taken])
        if found.value is not None and found.low is not None and found.high is not None:
            held.append(found.low <= true <= found.high)
    return float(np.mean(held))


def main() -> None:
    """Prints both tables, in percent."""
    print("shares: validation; held with the groups of validation ignored, and as it is")
    for groups in VALIDATION:
        held = [
            shares_held(groups, Groups(ELSEWHERE_IMAGES), REPETITIONS, by_group=by_group)
            for by_group in (False, True)
        ]
        print(groups, *(f"{100 * part:.1f}" for part in held), flush=True)
    print("PPV: largest group, groups of the class and of others, recall; held, by share of false alarms")
    for largest, (own, others), recall in product((1, 5), BOTH, RECALLS):
        held = [ppv_held(own, others, (recall, alarms), largest, REPETITIONS) for alarms in ALARMS]
        print(largest, own, others, recall, *(f"{100 * part:.1f}" for part in held), flush=True)


if __name__ == "__main__":
    main()
