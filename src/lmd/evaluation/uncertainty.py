"""How sure a metric is: one bootstrap over cases, the same wherever their numbers are shown.

A case is a test image. The draws depend on the cases alone: on the images, their classes and their groups.
The seed is a constant; the seed of a training has no part in it. All runs on the same test images are
therefore measured on the same draws. A run has one interval in its report, in a table and in a comparison,
and the difference of two runs is paired.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmd.evaluation.results import Estimate

DRAWS, LEVEL = 1000, 0.95
SEED = 0  # Of every bootstrap over cases.


def case_weights(ids: np.ndarray, labels: np.ndarray, groups: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """Returns how often each case is drawn in each bootstrap sample: [draws, N].

    A function of the set of cases. The order of the rows and the names of classes and groups do not matter.

    >>> first = case_weights(np.array(["a", "b", "c"]), np.array([0, 0, 0]), np.array(["x", "y", "y"]), 5)
    >>> again = case_weights(np.array(["b", "c", "a"]), np.array([7, 7, 7]), np.array(["v", "v", "u"]), 5)
    >>> bool((first[:, [1, 2, 0]] == again).all())
    True
    """
    order = np.argsort(ids.astype(str), kind="stable")
    return bootstrap_weights(labels[order], groups[order], draws, SEED)[:, np.argsort(order)]


def bootstrap_weights(labels: np.ndarray, groups: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Returns how often each image is drawn in each bootstrap sample: [draws, N].

    Whole groups (lesions, patients) are drawn with replacement, because images of one lesion are not
    independent. They are drawn among the groups of their class (that of their first image), so that no rare
    class drops out of a sample. With groups of one image this is the stratified bootstrap over images.
    """
    random = np.random.default_rng(seed)
    member = pd.factorize(groups)[0]
    _, first = np.unique(member, return_index=True)
    stratum = pd.factorize(labels[first])[0]
    times = np.zeros((draws, len(first)))
    for number in range(stratum.max() + 1):
        here = np.flatnonzero(stratum == number)
        times[:, here] = random.multinomial(len(here), np.full(len(here), 1 / len(here)), size=draws)
    return times[:, member]


def interval(samples: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of bootstrap samples [D]; nan where none is defined.

    >>> interval(np.arange(101.0), 0.9)
    (5.0, 95.0)
    """
    defined = samples[~np.isnan(samples)]
    if len(defined) == 0:
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return round(float(low), 12), round(float(high), 12)


@dataclass(frozen=True)
class Measured:
    """One metric of one run: its value on all cases, and in each draw of cases [D]; nan where undefined."""

    value: float
    draws: np.ndarray

    def estimate(self) -> Estimate:
        """Returns the value with its interval."""
        low, high = interval(self.draws)
        return Estimate(value=defined(self.value), low=defined(low), high=defined(high))


def defined(value: float) -> float | None:
    """Returns a number; None for nan."""
    return None if math.isnan(value) else float(value)


def paired_difference(first: Measured, second: Measured) -> Estimate:
    """Returns first - second of two runs on the same cases, with the interval of the difference.

    The difference is taken within each draw. What makes a draw easy or hard for both runs cancels, so that
    runs can be told apart although their own intervals overlap.

    >>> first = Measured(0.75, np.array([0.5, 0.75, 1.0]))
    >>> print(paired_difference(first, Measured(0.5, np.array([0.25, 0.5, 0.75]))))
    0.250 [0.250, 0.250]
    """
    return Measured(first.value - second.value, first.draws - second.draws).estimate()
