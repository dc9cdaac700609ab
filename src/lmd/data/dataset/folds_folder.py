"""A folds folder: dataset folders of the same images with other divisions, and folds.json that names them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field, StringConstraints

from lmd.data.dataset.info import FOLDS, INFO
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.errors import DataError
from lmd.fields import read_json
from lmd.files import atomic_write
from lmd.settings import Settings
from lmd.text import numbered

Name = Annotated[str, StringConstraints(pattern=r"^(fold-[0-9]{1,6}|repeat-[0-9]{1,6}(/fold-[0-9]{1,6})?)$")]
_AGAIN = "prepare the folds again with 'lmd prepare'"


class FoldsInfo(Settings):
    """What folds.json says of the dataset folders beside it."""

    format: int = 1
    title: str
    folds: int | None
    """folds of each repeat; None where each repeat is one division into training, validation and test"""
    repeats: int | None
    """repeats with other draws; None where there is one, whose folds have no repeat in their names"""
    seed: int
    """seed of the first repeat; each further one has the next"""
    manifests_sha256: Annotated[dict[Name, str], Field(min_length=1)]
    """hash of the manifest of each dataset folder, by its name, such as fold-1 or repeat-1/fold-1"""


@dataclass(frozen=True)
class Folds:
    """A checked folds folder: its dataset folders by name."""

    folder: Path
    info: FoldsInfo
    datasets: dict[str, Dataset]

    @property
    def names(self) -> list[str]:
        """The names of the folds, in order."""
        return list(self.datasets)

    @property
    def first(self) -> Dataset:
        """The first of the data sets."""
        return next(iter(self.datasets.values()))

    @property
    def classes(self) -> list[str]:
        """The class names, in the order of the logits: equal in all folds."""
        return self.first.classes


def by_repeat(names: list[str]) -> list[list[str]]:
    """Returns the names of folds, those of one repeat together.

    >>> by_repeat(["repeat-1/fold-1", "repeat-1/fold-2", "repeat-2/fold-1"])
    [['repeat-1/fold-1', 'repeat-1/fold-2'], ['repeat-2/fold-1']]
    >>> by_repeat(["fold-1", "fold-2"])
    [['fold-1', 'fold-2']]
    """
    repeats: dict[str, list[str]] = {}
    for name in names:
        repeats.setdefault(name.split("/")[0] if name.startswith("repeat") else "", []).append(name)
    return list(repeats.values())


def write_info(folder: Path, info: FoldsInfo) -> None:
    """Writes folds.json."""
    atomic_write(folder / FOLDS, json.dumps(info.model_dump(), indent=2, ensure_ascii=False) + "\n")


def is_folds(folder: Path) -> bool:
    """Returns whether a folder holds folds, whole or not, and is no dataset folder itself."""
    marks = (FOLDS, f"fold-1/{INFO}", f"repeat-1/{INFO}", f"repeat-1/fold-1/{INFO}")
    here = any((folder / mark).exists() for mark in marks) or bool(_listed(folder))
    return here and not (folder / INFO).exists()


def read_folds(folder: Path, check_files: bool = True) -> Folds:
    """Returns a folds folder after checking all of it; with `check_files=False` images may be missing.

    Folders of earlier versions have no folds.json, and their numbers begin with 0: they are listed.

    Raises:
        DataError: a fold is missing, damaged or of other images, or an image is not tested exactly once.
    """
    info = _read_info(folder) if (folder / FOLDS).exists() else None
    names = list(info.manifests_sha256) if info else _listed(folder)
    if not names:
        raise DataError(f"{folder} is no folds folder: it has no {FOLDS}; {_AGAIN} and --folds")
    fresh = {repeat[0] for repeat in by_repeat(names)}  # The others have the same images.
    datasets = {name: _read(folder, name, check_files and name in fresh) for name in names}
    info = info or _found(datasets)
    for name, dataset in datasets.items():
        if dataset.info.manifest_sha256 != info.manifests_sha256[name]:
            raise DataError(f"{folder / name} is not the fold that {folder / FOLDS} names; {_AGAIN}")
        if dataset.classes != datasets[names[0]].classes:
            raise DataError(f"{folder / name} has other classes than {folder / names[0]}; {_AGAIN}")
    for repeat in by_repeat(names):
        _check_same_images([datasets[name] for name in repeat])
        if info.folds is not None:
            _check_tested_once(folder, [datasets[name] for name in repeat])
    return Folds(folder, info, datasets)


def _read_info(folder: Path) -> FoldsInfo:
    try:
        return read_json(FoldsInfo, folder / FOLDS, DataError)
    except OSError as error:
        raise DataError(f"cannot read {folder / FOLDS}: {error}") from error


def _read(folder: Path, name: str, check_files: bool) -> Dataset:
    if not (folder / name / INFO).is_file():
        raise DataError(f"fold {name} of {folder} is missing: there is no {folder / name / INFO}; {_AGAIN}")
    return read_dataset(folder / name, check_files)


def _listed(folder: Path) -> list[str]:
    """The folds of a folder of an earlier version: numbered from 0, without gaps."""
    repeats = _numbered(folder, "repeat")
    folds = [f"{repeat}/{fold}" for repeat in repeats for fold in _numbered(folder / repeat, "fold")]
    names = folds or repeats or _numbered(folder, "fold")
    return names if any((folder / name / INFO).is_file() for name in names) else []


def _numbered(folder: Path, word: str) -> list[str]:
    return list(takewhile(lambda name: (folder / name).is_dir(), (f"{word}-{n}" for n in count())))


def _found(datasets: dict[str, Dataset]) -> FoldsInfo:
    """What folds.json would say of a folder of an earlier version."""
    info, repeats = next(iter(datasets.values())).info, by_repeat(list(datasets))
    return FoldsInfo(
        title=info.title,
        folds=len(repeats[0]) if "fold" in info.recipe else None,
        repeats=len(repeats) if "repeat" in info.recipe else None,
        seed=info.recipe.get("seed", 0),
        manifests_sha256={name: dataset.info.manifest_sha256 for name, dataset in datasets.items()},
    )


def _check_same_images(repeat: list[Dataset]) -> None:
    columns = ["id", "file", "label", "group"]
    first = repeat[0].table[columns].sort_values("id", ignore_index=True)
    for dataset in repeat[1:]:
        if not dataset.table[columns].sort_values("id", ignore_index=True).equals(first):
            raise DataError(
                f"{dataset.folder} has other images, labels or groups than {repeat[0].folder}: they are no "
                f"folds of one data set; {_AGAIN}"
            )


def _check_tested_once(folder: Path, repeat: list[Dataset]) -> None:
    tested = pd.concat([dataset.split("test")["id"] for dataset in repeat])
    double = tested[tested.duplicated()]
    if len(double):
        raise DataError(
            f"image '{double.iloc[0]}' is in the test of more than one fold of {folder} ("
            f"{numbered(len(double), 'such image')}); {_AGAIN}"
        )
    never = set(repeat[0].table["id"]) - set(tested)
    if never:
        raise DataError(
            f"image '{min(never)}' is in the test of no fold of {folder} ("
            f"{numbered(len(never), 'such image')}); {_AGAIN}"
        )
