"""When a row may be called higher than another: with several seeds, and enough test images.

One training says nothing of how far another would lie from it. A few images say little whatever the interval
is. Below these bounds a difference is shown with its interval, and nothing is said of who is ahead.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lmd.experiments.base import Experiment
from lmd.experiments.given import Given, shown_classes
from lmd.settings import Tree
from lmd.text import image_count

FEWEST_SEEDS = 2
FEWEST_IMAGES = 100
# A share of all images, and not a mean over classes, which is as sure as its smallest band.
_OF_ALL_IMAGES = ("kappa_quadratic",)


def images_behind(metric: str, counts: Mapping[str, int], bands: Mapping[str, list[str]]) -> int:
    """Returns how many test images a metric rests on: those of its band, or of the smallest band it averages.

    `counts` are the test images of each class. Without bands it is all images.

    >>> counts, bands = {"a": 200, "b": 30}, {"head": ["a"], "tail": ["b"]}
    >>> [images_behind(name, counts, bands) for name in ("head", "tail", "bacc", "kappa_quadratic")]
    [200, 30, 30, 230]
    """
    of_band = {band: int(np.sum([counts[name] for name in names])) for band, names in bands.items()}
    if metric in of_band:
        return of_band[metric]
    filled = [number for number in of_band.values() if number]
    if metric in _OF_ALL_IMAGES or not filled:
        return int(np.sum(list(counts.values())))
    return min(filled)


def images_of(experiment: Experiment, given: Given) -> dict[str, int]:
    """Returns the test images behind each metric of an experiment; of folds, those of all together."""
    counts = dict(zip(given.first.classes, map(int, given.test_counts), strict=True))
    found = {
        metric.key: images_behind(metric.key, counts, given.first.info.bands) for metric in experiment.metrics
    }
    if experiment.points is not None:
        found["silhouette"] = sum(counts[name] for name in shown_classes(experiment, given.first))
    return found


def why_not(entry: Tree) -> str | None:
    """Returns why nothing may be said of who is ahead; None where it may.

    >>> why_not({"seeds": 1, "images": 500}), why_not({"seeds": 3, "images": 12})
    ('one seed', '12 test images')
    """
    if entry["seeds"] < FEWEST_SEEDS:
        return "one seed"
    if entry["images"] < FEWEST_IMAGES:
        return f"{image_count(entry['images'])} test images"
    return None


def verdict(entry: Tree) -> str:
    """Says what a difference shows, in a few words.

    >>> base = {"value": 2.0, "high": 3.0, "seeds": 3, "images": 500}
    >>> verdict({**base, "low": 0.5}), verdict({**base, "low": -0.5})
    ('higher', 'not told apart')
    >>> verdict({**base, "low": 0.5, "seeds": 1})
    'not judged: one seed'
    """
    if entry["value"] is None:
        return "undefined"
    reason = why_not(entry)
    if reason is not None:
        return f"not judged: {reason}"
    if entry["low"] is None or entry["high"] is None:
        return "not judged: no interval"
    if entry["low"] > 0:
        return "higher"
    return "lower" if entry["high"] < 0 else "not told apart"
