"""Abstention: what a model is worth on the images that it answers when it may leave the unsure ones out.

Images are answered in the order of their confidence. The selective risk is the share of wrong answers among
those answered, the coverage is the share that is answered (El-Yaniv, Wiener 2010), and the AURC is the mean
risk over all coverages (Geifman, Uziel, El-Yaniv 2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lmd.evaluation.intervals.measured import AllMetrics
from lmd.evaluation.intervals.shares import share_of
from lmd.evaluation.intervals.uncertainty import Sample
from lmd.evaluation.parts import Estimate
from lmd.settings import Settings

SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
_POINTS = 100  # Of a curve.


class Curve(Settings):
    """Risk against coverage, at up to 100 coverages; every class counts the same in `balanced`.

    There an image weighs 1 / (number of images of its class), in the risk and in its own coverage.
    """

    coverage: list[float]
    risk: list[float]
    balanced_coverage: list[float]
    balanced: list[float]
    aurc: float
    """mean risk over all coverages"""
    aurc_best: float
    """the least that is possible with so many wrong answers: all of them come last"""
    aurc_random: float
    """the risk without abstention, which an order by chance has at every coverage"""
    aurc_balanced: float


class BandAnswered(Settings):
    """A frequency band at one coverage."""

    answered: float | None
    """share of the band's images that are answered; None where it has none"""
    accuracy: Estimate
    """share of right answers among these"""


class Answered(Settings):
    """What the answers are worth where a share of the images is answered."""

    answered: float
    n: int
    threshold: float
    """an image is answered from this confidence on"""
    accuracy: Estimate
    bacc: Estimate
    """mean over the classes that have an answered image"""
    without: list[str]
    """classes that have images, but none that is answered"""
    bands: dict[str, BandAnswered]


class SelectiveResult(Settings):
    """The risk-coverage curves, over all images and by frequency band, and the table."""

    confidence: str
    table: list[Answered]
    overall: Curve
    bands: dict[str, Curve | None]
    """None of a band without images"""


def risk_coverage(
    wrong: np.ndarray, confidence: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns coverage [N] and risk [N] after each image that is answered, and the AURC.

    Images with the same confidence come in a random order: the risk is the expected one.

    >>> coverage, risk, area = risk_coverage(np.array([0, 0, 1]), np.array([0.9, 0.5, 0.7]), np.ones(3))
    >>> risk.round(3).tolist(), round(area, 3)
    ([0.0, 0.5, 0.333], 0.278)
    """
    order = np.argsort(-confidence, kind="stable")
    _, tie = np.unique(-confidence[order], return_inverse=True)
    size = np.bincount(tie)
    mass = (np.bincount(tie, weights[order]) / size)[tie]
    errors = (np.bincount(tie, (weights * wrong)[order]) / size)[tie]
    risk = np.cumsum(errors) / np.cumsum(mass)
    return np.cumsum(mass) / mass.sum(), risk, float((risk * mass).sum() / mass.sum())


def curve_of(labels: np.ndarray, wrong: np.ndarray, confidence: np.ndarray) -> Curve:
    """Returns the curve of images with labels [N], of which some are answered wrongly [N]."""
    every = np.ones(len(labels))
    balanced = 1 / np.bincount(labels)[labels]
    coverage, risk, area = risk_coverage(wrong, confidence, every)
    own_coverage, own_risk, own_area = risk_coverage(wrong, confidence, balanced)
    here = np.unique(np.linspace(0, len(labels) - 1, min(len(labels), _POINTS)).round().astype(int))
    return Curve(
        coverage=_rounded(coverage[here]),
        risk=_rounded(risk[here]),
        balanced_coverage=_rounded(own_coverage[here]),
        balanced=_rounded(own_risk[here]),
        aurc=area,
        aurc_best=risk_coverage(wrong, -wrong.astype(float), every)[2],
        aurc_random=float(wrong.mean()),
        aurc_balanced=own_area,
    )


def _rounded(values: np.ndarray) -> list[float]:
    return values.round(6).tolist()


def answered_at(share: float, confidence: np.ndarray) -> float:
    """Returns the confidence from which on at least this share of the images is answered.

    >>> answered_at(0.5, np.array([0.9, 0.4, 0.8, 0.3]))
    0.8
    """
    ordered = np.sort(confidence)[::-1]
    return float(ordered[max(int(np.ceil(share * len(ordered) - 1e-9)), 1) - 1])


@dataclass(frozen=True)
class Answers:
    """Of each image its class, the predicted class, how sure that is, and its group: all [N]."""

    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    clusters: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Which answers are right [N]."""
        return self.predicted == self.labels

    def of(self, rows: np.ndarray) -> Answers:
        """Returns those of some images."""
        parts = (self.labels, self.predicted, self.confidence, self.clusters)
        return Answers(*(part[rows] for part in parts))

    def of_classes(self, members: Sequence[int]) -> Answers:
        """Returns those of the images of some classes."""
        return self.of(np.isin(self.labels, members))

    def accuracy(self) -> Estimate:
        """Returns the share of right answers."""
        return share_of(self.right, self.clusters)

    def bacc(self, num_classes: int) -> Estimate:
        """Returns the mean recall over the classes that have images."""
        sample = Sample.of(self.labels, self.clusters)
        return AllMetrics(sample, np.eye(num_classes)[self.predicted]).whole("bacc").estimate()


def selective_of(
    answers: Answers, classes: Sequence[str], bands: Mapping[str, Sequence[int]], told: str
) -> SelectiveResult:
    """Returns the curves and the table of some images; `told` says in words what the confidence is."""
    of_bands = {name: answers.of_classes(members) for name, members in bands.items()}
    curves = {name: _curve(part) if len(part.labels) else None for name, part in of_bands.items()}
    levels = [answered_at(share, answers.confidence) for share in SHARES]
    table = [_row(level, answers, classes, of_bands) for level in dict.fromkeys(levels)]
    return SelectiveResult(confidence=told, table=table, overall=_curve(answers), bands=curves)


def _curve(answers: Answers) -> Curve:
    return curve_of(answers.labels, ~answers.right, answers.confidence)


def _row(
    threshold: float, answers: Answers, classes: Sequence[str], bands: Mapping[str, Answers]
) -> Answered:
    """What the answers from this confidence on are worth."""
    given = answers.of(answers.confidence >= threshold)
    return Answered(
        answered=len(given.labels) / len(answers.labels),
        n=len(given.labels),
        threshold=threshold,
        accuracy=given.accuracy(),
        bacc=given.bacc(len(classes)),
        without=[classes[k] for k in np.setdiff1d(answers.labels, given.labels)],
        bands={name: _band(part, part.confidence >= threshold) for name, part in bands.items()},
    )


def _band(band: Answers, answered: np.ndarray) -> BandAnswered:
    share = float(answered.mean()) if len(answered) else None
    return BandAnswered(answered=share, accuracy=band.of(answered).accuracy())
