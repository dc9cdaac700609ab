"""A folds run: a folder with a run folder for each fold, and what says that they belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from lmd.data.dataset.folds_folder import Folds, Name
from lmd.errors import CheckpointError, SettingsError
from lmd.fields import leaf_values, read_json
from lmd.files import atomic_write
from lmd.locks import holder
from lmd.model_card import ModelCard
from lmd.run import RunFolder, check_identity, read_identity, read_model_card
from lmd.run_folder import FOLDS_RUN
from lmd.settings import CommonSettings, Settings, Tree

MARK, RECIPE = FOLDS_RUN, "recipe.yaml"


class FoldsRunInfo(Settings):
    """What folds-run.json says of the run folders beside it."""

    format: int = 1
    title: str
    """of the data set"""
    method: str
    data: str
    """the folds folder"""
    manifests_sha256: Annotated[dict[Name, str], Field(min_length=1)]
    """hash of the manifest that each fold is trained on, by its name"""
    settings: dict[str, Any]
    """the resolved settings that all folds have"""
    start: str | None = None
    """the folds run whose first stages are taken over"""


@dataclass(frozen=True)
class FoldsRun(RunFolder):
    """The paths of a folds run: its own pooled predictions and evaluations, and its folds."""

    info: FoldsRunInfo

    @property
    def names(self) -> list[str]:
        """The names of the folds, in order."""
        return list(self.info.manifests_sha256)

    @property
    def folds(self) -> dict[str, RunFolder]:
        """The run folder of each fold, by name."""
        return {name: RunFolder(self.path / name) for name in self.names}

    @property
    def recipe(self) -> Path:
        """The settings as `--recipe` takes them: what a child process trains with."""
        return self.path / RECIPE

    @property
    def go_on(self) -> str:
        """The command that trains what is missing."""
        return f"'lmd train {self.info.data} --out {self.path} --resume'"


def is_folds_run(path: Path) -> bool:
    """Returns whether a folder is a folds run, finished or not."""
    return (path / MARK).exists()


def opened(path: Path) -> RunFolder:
    """Returns the run in a folder: a folds run where it is one."""
    return read_folds_run(path) if is_folds_run(path) else RunFolder(path)


def write_folds_run(run: FoldsRun) -> None:
    """Writes what a folds run begins with: folds-run.json alone says what it is."""
    atomic_write(run.path / MARK, run.info.model_dump_json(indent=2) + "\n")
    text = yaml.safe_dump(run.info.settings, sort_keys=False)
    atomic_write(run.recipe, f"# method: {run.info.method}\n{text}")


def read_folds_run(path: Path) -> FoldsRun:
    """Returns the folds run in a folder.

    Raises:
        CheckpointError: its folds-run.json is damaged.
    """
    try:
        return FoldsRun(path, read_json(FoldsRunInfo, path / MARK, CheckpointError))
    except OSError as error:
        raise CheckpointError(f"{path} is no folds run: cannot read {MARK}: {error}") from error


def saved_choice(run: RunFolder) -> tuple[str, Tree]:
    """Returns the method and the settings of a run, or of the folds of one, that was begun.

    Raises:
        CheckpointError: it is no run folder.
    """
    if isinstance(run, FoldsRun):
        return run.info.method, run.info.settings
    saved = read_identity(run)
    return saved["method"], saved["settings"]


def check_same(run: FoldsRun, folds: Folds, method: str, settings: CommonSettings) -> None:
    """Checks that a folds run that is to go on was begun with this method, these settings and these folds.

    Raises:
        CheckpointError: what differs.
    """
    saved: Tree = {"method": run.info.method, "settings": run.info.settings}
    check_identity(saved, {"method": method, "settings": settings.model_dump(mode="json")})
    if run.info.manifests_sha256 != folds.info.manifests_sha256:
        raise CheckpointError(f"{run.path} was begun on other folds than those of {folds.folder}")


def cards(run: FoldsRun) -> dict[str, ModelCard]:
    """Returns the model card of each fold, once all have finished and fit together.

    Raises:
        CheckpointError: a fold has not finished, is damaged, or is a run of something else.
    """
    found: dict[str, ModelCard] = {}
    for name, folder in run.folds.items():
        if not folder.model.is_file():
            raise CheckpointError(f"fold {name} of {run.path} has not finished: {_way_on(run)}")
        _check_fold(run, name)
        found[name] = read_model_card(folder)
        if found[name].dataset.manifest_sha256 != run.info.manifests_sha256[name]:
            raise CheckpointError(f"{folder.path} was not trained on {name} of {run.info.data}")
        if found[name].classes != found[run.names[0]].classes:
            raise CheckpointError(f"{folder.path} has other classes than {run.names[0]} of {run.path}")
    return found


def _way_on(run: FoldsRun) -> str:
    """What to do about folds that have not finished: one of them may be in training now."""
    who = next(filter(None, (holder(fold.path) for fold in run.folds.values())), None)
    return f"go on with {run.go_on}" if who is None else f"{who} trains them: wait until that has ended"


def _check_fold(run: FoldsRun, name: str) -> None:
    """Refuses a fold of another method, or with other settings."""
    saved = read_identity(run.folds[name])
    told = f"{run.path / name} is no fold of {run.path}:"
    if saved["method"] != run.info.method:
        raise CheckpointError(f"{told} its method is '{saved['method']}', not '{run.info.method}'")
    theirs, ours = _flat(saved["settings"]), _flat(run.info.settings)
    for setting in dict.fromkeys((*ours, *theirs)):
        if theirs.get(setting) != ours.get(setting):
            raise CheckpointError(
                f"{told} its setting {setting} is {theirs.get(setting)!r}, not {ours.get(setting)!r}"
            )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    return dict(leaf_values(settings))


def refuse_folds(run: RunFolder, why: str) -> None:
    """Refuses a folds run where one run is needed.

    Raises:
        SettingsError: it is a folds run; one fold is named as the way out.
    """
    if isinstance(run, FoldsRun):
        raise SettingsError(
            f"{run.path} has a run for each fold: {why}name one, such as {run.path / run.names[0]}"
        )


def check_average(run: RunFolder, average: bool) -> None:
    """Refuses to answer with a folds run without being told to take the mean, and the other way round.

    Raises:
        SettingsError: the way out is named.
    """
    if average and not isinstance(run, FoldsRun):
        raise SettingsError(f"--average: {run.path} is one run, not a run for each fold: leave it out")
    if not average:
        refuse_folds(run, "take the mean of their answers with --average (in Python average=True), or ")
