"""Reliability: in bins of predicted probability, how often the class is the true one; by frequency band."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lmd.evaluation.intervals.shares import share_of
from lmd.evaluation.parts import Estimate
from lmd.evaluation.probability.metrics import equal_mass
from lmd.settings import Settings

BINS = 10
ALL = "all"


class ReliabilityBin(Settings):
    """Images, or pairs of an image and a class, whose predicted probabilities are alike."""

    n: int
    """images, or pairs of an image and a class of the band"""
    predicted: float
    """mean of the predicted probabilities"""
    observed: Estimate
    """share of them that the class is true of"""


def reliability(scores: np.ndarray, hits: np.ndarray, clusters: np.ndarray) -> list[ReliabilityBin]:
    """Returns bins of equal mass, from the lowest scores to the highest, without empty ones."""
    places = equal_mass(scores, BINS)
    members = [np.flatnonzero(places == place) for place in range(BINS)]
    return [
        ReliabilityBin(
            n=len(rows), predicted=float(scores[rows].mean()), observed=share_of(hits[rows], clusters[rows])
        )
        for rows in members
        if len(rows)
    ]


def reliability_by_band(
    labels: np.ndarray,
    probabilities: np.ndarray,
    clusters: np.ndarray,
    bands: Mapping[str, list[int]],
) -> dict[str, list[ReliabilityBin]]:
    """Returns the bins of the largest probabilities, and of the probabilities of the classes of each band.

    Under "all" each image counts once, with its largest probability. Under a band it counts once for each
    class of the band, with its probability of that class. Most of those are near 0.
    """
    largest = probabilities.argmax(1)
    rows = np.arange(len(labels))
    found = {ALL: reliability(probabilities[rows, largest], largest == labels, clusters)}
    for band, classes in bands.items():
        scores = probabilities[:, classes].ravel()
        hits = (labels[:, None] == np.array(classes)).ravel()
        found[band] = reliability(scores, hits, np.repeat(clusters, len(classes)))
    return found
