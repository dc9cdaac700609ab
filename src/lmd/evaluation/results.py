"""What an evaluation found, as typed values; one JSON file for each split of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from lmd.errors import CheckpointError
from lmd.evaluation.groups.levels import ColumnResult, GroupsResult
from lmd.evaluation.parts import BandResult, ClassResult, Estimate, Metrics, Reasons
from lmd.evaluation.probability.results import PriorResult, ProbabilityResult, ThresholdsResult
from lmd.evaluation.selective.abstention import SelectiveResult
from lmd.evaluation.selective.sets import SetsResult
from lmd.evaluation.selective.unlikeness_result import UnlikenessResult
from lmd.fields import read_json
from lmd.files import atomic_write
from lmd.settings import Settings


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
    metrics: Metrics
    """by the names of `evaluation.metrics.MACRO`"""
    bands: dict[str, BandResult] = Field(alias="groups")  # The name in JSON.
    classes: list[ClassResult]
    """in the order of the logits"""
    confusion: list[list[int]]
    """images of each true class (row) by predicted class (column)"""
    interval: Resampling
    reasons: Reasons
    """why something is undefined or left out"""
    data: OtherData | None = None
    """None for the run's own data set"""
    overlap: Overlap | None = None
    """None where it is no question: of training and validation images, or where no run was measured"""
    folds: FoldsResult | None = None
    """None for one model"""
    probabilities: ProbabilityResult | None = None
    """how good the probabilities are, before and after calibrations on validation"""
    prior: PriorResult | None = None
    """what decisions are worth at stated shares of the classes; None where none were stated"""
    thresholds: ThresholdsResult | None = None
    """thresholds for wanted sensitivities, and decisions by cost; None where none were wanted"""
    sets: SetsResult | None = None
    """prediction sets of a promised coverage"""
    selective: SelectiveResult | None = None
    """what the answers are worth where unsure images are left out"""
    unlikeness: UnlikenessResult | None = None
    """images unlike anything seen"""
    by_group: GroupsResult | None = None
    """with one answer for each group (patient, lesion)"""
    subgroups: list[ColumnResult] | None = None
    """by the metadata columns that were asked for"""

    @property
    def on(self) -> str:
        """The manifest's hash of the data set that was measured; empty where it is the run's own."""
        return "" if self.data is None else self.data.manifest_sha256

    @property
    def measured(self) -> str:
        """What was measured, in words: the split, and of another data set its title."""
        return self.split if self.data is None else f"{self.split} of {self.data.title}"

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, tree: Any) -> Any:
        """Unlikeness was called novelty, and so was the reason why there is none."""
        if not isinstance(tree, dict):
            return tree
        tree = _renamed(tree)
        reasons = tree.get("reasons")
        return {**tree, "reasons": _renamed(reasons)} if isinstance(reasons, dict) else tree


def _renamed(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {"unlikeness" if name == "novelty" else name: value for name, value in tree.items()}


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Writes an evaluation as JSON."""
    tree = evaluation.model_dump(mode="json", by_alias=True)
    optional = [name for name, field in Evaluation.model_fields.items() if not field.is_required()]
    for part, names in ((tree, optional), (tree["interval"], ("draws", "seed"))):
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
    """Returns the evaluations that lie in a run folder, by split; on other data by `<split>-on-<hash>`.

    Raises:
        CheckpointError: one of them is damaged.
    """
    files = sorted(folder.glob("evaluation-*.json"), key=lambda file: file.stem)  # "test" before "test-on-".
    return {file.stem.removeprefix("evaluation-"): read_evaluation(file) for file in files}
