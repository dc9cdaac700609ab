"""The runs of an experiment: their settings and folders, and which of them may share a first stage.

Two runs share stage 1 when and only when it would come out the same: same class of stage, same state of the
stage as its method built it, same settings of stage 1, same common settings (the seed among them), same data
and same weights file. That is compared, never listed by hand.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from pydantic import BaseModel

from lmd import methods, planning
from lmd.data.dataset.manifest import Dataset
from lmd.errors import SettingsError, suggest
from lmd.experiments.base import Row
from lmd.experiments.request import Job
from lmd.fields import leaf_values, old_names_of, setting_names
from lmd.run import RunFolder, read_identity
from lmd.settings import CommonSettings, Tree, parse_override

RUNS = "runs"
# What a first stage's outcome does not depend on: the choice of an epoch is made in the last stage, and what
# the outputs mean after it.
_LATER = ("select", "tau", "calibration")


@dataclass(frozen=True)
class Run:
    """One training: a row, on the data of a block, with a seed; on folds, one of them."""

    row: Row
    block: str
    seed: int
    part: str  # The fold; "" where the data are one data set.
    settings: CommonSettings
    dataset: Dataset
    folder: RunFolder
    stage1: str | None  # The signature of its first stage; None: not to be compared.
    two_stages: bool
    own_tau: float | Literal["validation"] = 0.0  # Its method's; all are trained at 0 (`rule`).

    @property
    def name(self) -> str:
        """The run's name below the folder of runs, for people too."""
        return f"{self.trial_name}/{self.part}" if self.part else self.trial_name

    @property
    def trial_name(self) -> str:
        """The name that all folds of a row and seed share."""
        return f"{self.block}/{self.row.key}/seed-{self.seed}"

    @property
    def finished(self) -> bool:
        """Whether it has a trained model."""
        return self.folder.model.is_file()

    @property
    def begun(self) -> bool:
        """Whether there is something to go on with."""
        return self.folder.settings.is_file()


class Place(NamedTuple):
    """Where a run belongs: a block, and one of its data sets."""

    block: str
    part: str
    dataset: Dataset


def all_runs(job: Job) -> list[Run]:
    """Returns the runs of a job, all rows of the table, in the order in which they are trained.

    Raises:
        SettingsError: a setting is wrong, or no method of the table has it.
    """
    _check_used(job)
    return [
        _make_run(job, row, Place(block, part, dataset), seed)
        for block, given in job.data.items()
        for seed in job.seeds
        for part, dataset in given.parts.items()
        for row in job.rows
    ]


def applicable(row: Row, overrides: Sequence[str]) -> list[str]:
    """Returns the overrides that set what the row's method has."""
    settings = methods.load(row.method).Settings
    known = {*setting_names(settings), *old_names_of(settings)}  # An old name is refused with today's.
    return [text for text in overrides if all(name in known for name, _ in leaf_values(parse_override(text)))]


def _check_used(job: Job) -> None:
    used = {text for row in job.rows for text in applicable(row, job.request.overrides)}
    for text in job.request.overrides:
        if text not in used:
            name = text.partition("=")[0]
            known = {leaf for row in job.rows for leaf in setting_names(methods.load(row.method).Settings)}
            raise SettingsError(
                f"--set: no method of {job.experiment.name} has '{name}'{suggest(name, known)}"
            )


def _make_run(job: Job, row: Row, place: Place, seed: int) -> Run:
    dataset, own = place.dataset, settings_of_row(job, row, place.block, seed)
    settings = own.model_copy(update={"tau": 0.0})
    stages = methods.load(row.method).stages(settings, dataset.counts("train"))
    folder = RunFolder(job.request.out / RUNS / place.block / row.key / f"seed-{seed}" / place.part)
    signature = stage1_signature(settings, stages[0], dataset.info.manifest_sha256)
    return Run(
        row, place.block, seed, place.part, settings, dataset, folder, signature, len(stages) > 1, own.tau
    )


def settings_of_row(job: Job, row: Row, block: str, seed: int) -> CommonSettings:
    """Returns the settings of a row on a block's data; of all rows they come about in the same way."""
    request = job.request
    given: Tree = {"seed": seed}
    if request.weights is not None:
        given |= {"weights": request.weights, "partial_weights": request.partial_weights}
    overrides = applicable(row, request.overrides)
    data = job.data[block].first  # Of folds, too: what is compared has to have one plan.
    return planning.settings_for(row.method, data, request.budget, row.settings, given, overrides)


def stage1_signature(settings: CommonSettings, stage: object, manifest_sha256: str) -> str | None:
    """Returns a hash of all that the outcome of a first stage depends on; None where it cannot be told."""
    kind = type(stage)
    common = {name: getattr(settings, name) for name in CommonSettings.model_fields if name not in _LATER}
    parts = {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "common": common,
        "settings": getattr(settings, "stage1", None),
        "state": {name: value for name, value in vars(stage).items() if value is not settings},
        "data": manifest_sha256,
    }
    try:
        text = json.dumps(_plain(parts), sort_keys=True)
    except TypeError:
        return None
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """A value as JSON; an array as the hash of its content.

    Raises:
        TypeError: a value of a kind that cannot be compared.
    """
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, torch.Tensor):
        return _plain(value.detach().cpu().numpy())
    if isinstance(value, np.ndarray):
        content = np.ascontiguousarray(value)
        return [str(content.dtype), list(content.shape), hashlib.sha256(content.tobytes()).hexdigest()]
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(part) for part in cast("Sequence[Any]", value)]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{type(value).__name__} cannot be compared")


def start_of(run: Run, runs: Sequence[Run]) -> RunFolder | None:
    """Returns the finished run whose first stage is this run's too; None: it trains its own.

    A run that was interrupted keeps to what it began with.
    """
    if run.stage1 is None or not run.two_stages:
        return None
    finished = [other.folder for other in runs if other.stage1 == run.stage1 and other.finished]
    if not run.begun:
        return finished[0] if finished else None
    began_with = read_identity(run.folder)["from_sha256"]
    return next((folder for folder in finished if sha256_of(folder.stage1) == began_with), None)


def sha256_of(path: Path) -> str:
    """Returns the hash of a file, as the run folder records it for what a run started from."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
