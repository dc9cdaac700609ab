"""How much the best of many trials looks better than it is, because it was chosen on the same images."""

from __future__ import annotations

import numpy as np

from lmd.runtime import derive_seed

DRAWS = 500


def mean_of_classes(each: np.ndarray, labels: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Returns the means [T, B], over classes, of the scores of images [T, N] with weights [N, B].

    A class whose images all have the weight 0 is left out.
    """
    total, present = np.zeros((len(each), times.shape[1])), np.zeros(times.shape[1])
    for k in np.unique(labels):
        weight = times[labels == k].sum(0)
        total += (each[:, labels == k] @ times[labels == k]) / np.maximum(weight, 1)
        present += weight > 0
    return total / np.maximum(present, 1)


def optimism(
    each: np.ndarray, labels: np.ndarray, clusters: np.ndarray, seed: int, draws: int = DRAWS
) -> float:
    """Returns by how much the score of the best trial flatters it, on average.

    Groups of images are drawn with replacement, class by class. The best trial is chosen on those drawn, and
    measured on those left out. What is then missing to the best score on all images is what the choice adds
    (bias correction by bootstrap, Tsamardinos et al. 2018). Scores are taken from the mean of all trials, so
    that it does not matter how hard the images are that were left out.

    Args:
        each: the score of each image in each trial [T, N].
        labels: the class of each image [N].
        clusters: the group of each image [N].
        seed: of the draws.
        draws: how many.
    """
    times = _drawn(np.random.default_rng(derive_seed(seed, "optimism")), labels, clusters, draws)
    times = times[:, (times == 0).any(0)]
    if len(each) < 2 or not times.size:
        return 0.0
    each = each - each.mean(0)
    best = mean_of_classes(each, labels, times).argmax(0)
    left = mean_of_classes(each, labels, (times == 0).astype(float))
    everywhere = mean_of_classes(each, labels, np.ones((len(labels), 1)))
    return max(float(everywhere.max() - left[best, np.arange(len(best))].mean()), 0.0)


def _drawn(random: np.random.Generator, labels: np.ndarray, clusters: np.ndarray, draws: int) -> np.ndarray:
    """How often each image is drawn [N, B]: whole groups, each in the class of its first image."""
    names, first, place = np.unique(clusters, return_index=True, return_inverse=True)
    kinds, times = labels[first], np.zeros((len(names), draws))
    for kind in np.unique(kinds):
        mine = np.flatnonzero(kinds == kind)
        times[mine] = random.multinomial(len(mine), np.full(len(mine), 1 / len(mine)), size=draws).T
    return times[place]
