"""The run folder: which files it has, and when it may be used."""

from __future__ import annotations

import shlex
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lmd.data.dataset.info import FOLDS, INFO
from lmd.errors import SettingsError
from lmd.files import is_temporary, sweep
from lmd.locks import holder

FITTED = "virtual-features"  # The method of a run that `lmd fit` makes, as its files call it.
FOLDS_RUN = "folds-run.json"  # The file of a folder that has a run for each fold.
# Folders that are easily named in the place of a run, by a file in them: their kind, and what makes a run.
_OTHERS = {
    INFO: ("a dataset folder", "lmd train"),
    FOLDS: ("a folder of folds", "lmd train"),
    "features.json": ("a features folder", "lmd fit"),
}


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run's files."""

    path: Path

    @property
    def settings(self) -> Path:
        """The resolved settings, with the method and the data set they belong to."""
        return self.path / "settings.yaml"

    @property
    def checkpoint(self) -> Path:
        """The state from which a run goes on; removed when the run has finished."""
        return self.path / "checkpoint" / "state.safetensors"

    @property
    def weights(self) -> Path:
        """The trained weights."""
        return self.path / "model" / "model.safetensors"

    @property
    def stage1(self) -> Path:
        """The network as the first stage handed it over: what `--from` starts from."""
        return self.path / "model" / "stage1.safetensors"

    @property
    def model(self) -> Path:
        """All that prediction needs besides the weights."""
        return self.path / "model" / "model.json"

    @property
    def images(self) -> Path:
        """Hashes of the training and validation images, without names: what `evaluate` compares with."""
        return self.path / "model" / "images.json"

    @property
    def gaussians(self) -> Path:
        """The class Gaussians of a method that estimates them."""
        return self.path / "model" / "gaussians.safetensors"

    @property
    def unlikeness(self) -> Path:
        """What tells how unlike anything seen an image is: means, covariance, distances of validation."""
        folder = self.path / "model"
        now, earlier = folder / "unlikeness.safetensors", folder / "novelty.safetensors"
        return earlier if earlier.is_file() and not now.is_file() else now  # Runs of earlier versions.

    @property
    def environment(self) -> Path:
        """The versions and the hardware that it was trained with."""
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        """One JSON object for each epoch."""
        return self.path / "metrics.jsonl"

    def predictions(self, split: str, on: str = "") -> Path:
        """The predictions on a split; `on` is the manifest's hash of another data set than the run's own."""
        return self.path / f"predictions-{_named(split, on)}.csv"

    def predictions_by_group(self, split: str, on: str = "") -> Path:
        """The predictions on a split with one answer for each group (patient, lesion)."""
        return self.path / f"predictions-{_named(split, on)}-groups.csv"

    def evaluation(self, split: str, on: str = "") -> Path:
        """The metrics on a split; `on` as for predictions."""
        return self.path / f"evaluation-{_named(split, on)}.json"


def _named(split: str, on: str) -> str:
    """What was measured, in the name of a file: other data must not replace the run's own.

    >>> _named("test", ""), _named("test", "0123456789abcdef")
    ('test', 'test-on-01234567')
    """
    return f"{split}-on-{on[:8]}" if on else split


def is_new(path: Path) -> bool:
    """Returns whether nothing is in a folder, or nothing but what killed processes of ours left."""
    return not path.exists() or (path.is_dir() and all(map(is_temporary, path.iterdir())))


def create(path: Path, *, resumes: bool = True) -> RunFolder:
    """Returns a new run folder; `resumes` says whether the verb can go on with what lies there.

    Raises:
        SettingsError: it is a file, or the folder is not empty, so that no run is overwritten.
    """
    if path.exists() and not path.is_dir():
        raise SettingsError(f"output folder {path} is a file: name a folder")
    if not is_new(path):
        way = ", or go on with --resume" if resumes and _is_training(path) else ""
        raise SettingsError(f"output folder {path} is not empty; choose another{way}")
    return RunFolder(path)


def _is_training(path: Path) -> bool:
    """Whether a folder holds what `lmd train` has begun."""
    return (path / FOLDS_RUN).is_file() or (
        RunFolder(path).settings.is_file() and not _is_fitted(RunFolder(path))
    )


def _is_fitted(run: RunFolder) -> bool:
    """Whether a run is one of `lmd fit`, which has no --resume; its settings begin with the method."""
    with suppress(OSError, UnicodeDecodeError):
        return run.settings.read_text(encoding="utf-8").startswith(f"method: {FITTED}\n")
    return False


def why_no_model(run: RunFolder) -> str:
    """Returns why a folder has no trained model, and what to do."""
    if run.settings.is_file():
        return unfinished(run)
    for file, (kind, verb) in _OTHERS.items():
        if (run.path / file).is_file():
            command = f"'{verb} {shlex.quote(str(run.path))} --out RUN'"
            return f"it is {kind}, and a run folder is asked for here, which {command} makes"
    return "it is no run folder, which 'lmd train' makes" if run.path.exists() else "no such run"


def unfinished(run: RunFolder) -> str:
    """Returns why a run that was begun has no model yet, and what to do."""
    who = holder(run.path)
    if who is not None:
        return f"it is still being trained, by {who}: wait until that has ended"
    way = "fit it anew into another folder" if _is_fitted(run) else "go on with --resume"
    return f"it has not finished; {way}"


def tidy(run: RunFolder) -> None:
    """Removes what killed processes left in a run folder."""
    for folder in (run.path, run.model.parent, run.checkpoint.parent):
        sweep(folder)


def remove_checkpoint(run: RunFolder) -> None:
    """Removes the state of a run that has finished."""
    shutil.rmtree(run.checkpoint.parent, ignore_errors=True)
