"""How sure a metric is: the bootstrap over cases, by whole groups and within classes."""

from __future__ import annotations

import numpy as np


def bootstrap_weights(labels: np.ndarray, groups: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Returns how often each image is drawn in each bootstrap sample: [draws, N].

    Whole groups (lesions, patients) are drawn with replacement, because images of one lesion are not
    independent; within strata of the group's class, so that no rare class drops out of a sample. With
    groups of one image this is the stratified bootstrap over images.
    """
    random = np.random.default_rng(seed)
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    stratum = labels[first]
    times = np.zeros((draws, len(first)))
    for label in np.unique(stratum):
        here = np.flatnonzero(stratum == label)
        times[:, here] = random.multinomial(len(here), np.full(len(here), 1 / len(here)), size=draws)
    return times[:, member]


def interval(samples: np.ndarray, level: float = 0.95) -> tuple[float, float]:
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
