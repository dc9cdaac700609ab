"""What an evaluation found, as typed values; one JSON file for each split of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, model_serializer, model_validator

from lmd.errors import CheckpointError
from lmd.fields import read_json
from lmd.files import atomic_write
from lmd.settings import Settings, Tree


class Estimate(Settings):
    """A metric with its interval; None where it is undefined.

    >>> print(Estimate(value=0.5, low=0.25, high=0.75))
    0.500 [0.250, 0.750]
    >>> print(Estimate(value=None, low=None, high=None))
    undefined
    """

    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        """The value and its interval with three decimals, or "undefined"."""
        if self.value is None:
            return "undefined"
        if self.low is None or self.high is None:
            return f"{self.value:.3f} (no interval)"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class BandResult(Settings):
    """A frequency band (head, medium or tail): its classes, their images, and means over them."""

    n: int
    """images of the band's classes in the split"""
    classes: list[str]
    recall: Estimate
    precision: Estimate
    f1: Estimate
    auc: Estimate


_NEWER = ("specificity", "ppv", "npv")  # What files of earlier versions lack of a class.


class ClassResult(Settings):
    """One class against the rest; None where it has no image in the split.

    In JSON the recall takes three fields: `recall`, `recall_low` and `recall_high`. Files of earlier versions
    lack specificity, PPV and NPV.
    """

    model_config = ConfigDict(populate_by_name=True)

    name: str
    n: int
    """images of the class in the split"""
    band: str | None = Field(alias="group")  # The name in JSON.
    recall: Estimate
    """also called sensitivity"""
    precision: float | None
    f1: float | None
    auc: float | None
    specificity: float | None = None
    """share of the other classes' images that are not taken for this class"""
    ppv: float | None = None
    """positive predictive value: share of the images taken for this class that are of it; the precision,
    but undefined where no image is taken for the class"""
    npv: float | None = None
    """negative predictive value: share of the images taken for other classes that are of other classes"""

    @model_validator(mode="before")
    @classmethod
    def _gather_recall(cls, tree: Any) -> Any:
        parts = ("recall", "recall_low", "recall_high")
        if not isinstance(tree, dict) or not all(part in tree for part in parts):
            return tree
        flat: Tree = {**tree}
        recall = {"value": flat["recall"], "low": flat.pop("recall_low"), "high": flat.pop("recall_high")}
        return {**flat, "recall": recall}

    @model_serializer
    def _spread_recall(self) -> Tree:
        newer = {name: getattr(self, name) for name in _NEWER if name in self.model_fields_set}
        return {
            "name": self.name,
            "n": self.n,
            "group": self.band,
            "recall": self.recall.value,
            "recall_low": self.recall.low,
            "recall_high": self.recall.high,
            "precision": self.precision,
            "f1": self.f1,
            "auc": self.auc,
            **newer,
        }


class Resampling(Settings):
    """How the intervals were made."""

    method: str
    level: float
    """share of repetitions whose interval would hold the true value"""
    draws: int | None = None
    """of earlier versions, whose intervals came from a bootstrap"""
    seed: int | None = None
    """likewise"""
    clustered: bool
    """whether some images are of one patient or lesion, and count as a group"""
    clusters: int
    """number of those groups; of images where none has two"""


class OtherData(Settings):
    """The data set that was measured, where it is not the one that the run was trained on."""

    title: str
    manifest_sha256: str


class Overlap(Settings):
    """How much of what was measured the run had seen before."""

    images: int | None
    """images that are training images; None where that is not known"""
    validation: int | None
    """images that are no training but validation images; None where that is not known"""
    of: int
    """images that were measured"""
    groups: int | None
    """groups (patients, lesions) that are also in training or validation; None where not compared"""
    note: str
    """this in words"""

    @property
    def any(self) -> bool:
        """Whether anything had been seen before."""
        return bool(self.images or self.validation or self.groups)


class FoldsResult(Settings):
    """How the models of several folds were measured together."""

    how: str
    """this in words"""
    bacc: dict[str, Estimate]
    """balanced accuracy of each fold's model on its own test images; of none on another data set"""


class Evaluation(Settings):
    """What a model's predictions on a split are worth."""

    model_config = ConfigDict(populate_by_name=True)

    split: str
    n: int
    """images in the split"""
    metrics: dict[str, Estimate]
    """by the names of `evaluation.metrics.MACRO`"""
    bands: dict[str, BandResult] = Field(alias="groups")  # The name in JSON.
    classes: list[ClassResult]
    """in the order of the logits"""
    confusion: list[list[int]]
    """images of each true class (row) by predicted class (column)"""
    interval: Resampling
    reasons: dict[str, str]
    """why something is undefined or left out"""
    data: OtherData | None = None
    """None for the run's own data set"""
    overlap: Overlap | None = None
    """None where it is no question: of training and validation images, or where no run was measured"""
    folds: FoldsResult | None = None
    """None for one model"""


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Writes an evaluation as JSON."""
    tree = evaluation.model_dump(mode="json", by_alias=True)
    for part, names in ((tree, ("data", "overlap", "folds")), (tree["interval"], ("draws", "seed"))):
        for name in names:
            if part[name] is None:
                del part[name]
    atomic_write(path, json.dumps(tree, indent=2, allow_nan=False) + "\n")


def read_evaluation(path: Path) -> Evaluation:
    """Returns an evaluation that was written as JSON, by this version or an earlier one.

    Raises:
        CheckpointError: the file is damaged or cannot be read.
    """
    try:
        found = read_json(Evaluation, path, CheckpointError)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    if "bacc" not in found.metrics:
        raise CheckpointError(f"{path} is damaged: metrics has no 'bacc'")
    return found


def read_evaluations(folder: Path) -> dict[str, Evaluation]:
    """Returns the evaluations that lie in a run folder, by split.

    Raises:
        CheckpointError: one of them is damaged.
    """
    files = sorted(folder.glob("evaluation-*.json"))
    return {file.stem.removeprefix("evaluation-"): read_evaluation(file) for file in files}
