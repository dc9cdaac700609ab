"""What a comparison of finished runs found, as typed values: one JSON file."""

from __future__ import annotations

from typing import Literal

from lmd.evaluation.pairs.paired import Ranking
from lmd.evaluation.parts import Estimate
from lmd.settings import Settings

TauRule = Literal["0", "own", "validation"]


class RunUsed(Settings):
    """One training of a method, and how it decided."""

    folder: str
    """name of the run folder"""
    seed: int
    repeat: str
    """of repeated folds, which one; otherwise empty"""
    tau: list[float]
    """how far decisions were shifted to rare classes; of folds one number for each fold"""


class MethodCompared(Settings):
    """One row: a method with its settings, and its trainings, which differ by seed alone."""

    name: str
    method: str
    runs: list[RunUsed]
    metrics: dict[str, Estimate]
    """mean over the trainings, by metric and by frequency band"""


class Comparison(Settings):
    """Methods on the same test images: which of them can be told apart."""

    metric: str
    """the metric that they are ranked by"""
    split: str
    data: str
    """title of the data set that was measured"""
    phantom: bool = False
    """whether the models were trained on drawn images"""
    n: int
    """images"""
    groups: int
    """groups of images (patients, lesions); images where none has two"""
    counts: dict[str, int]
    """images of each class, those of most training images first"""
    tau: TauRule
    """the rule that all rows share: no shift, as each run decides, or chosen on validation images"""
    methods: dict[str, MethodCompared]
    ranking: Ranking
    notes: list[str]
