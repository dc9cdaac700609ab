"""dataset.json: what a dataset folder says of itself."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field, model_validator

from lmd.data.dataset.meaning.grouping import Grouping
from lmd.errors import DataError
from lmd.fields import read_json
from lmd.settings import Settings
from lmd.text import shortened

MANIFEST, INFO, FOLDS = "manifest.csv", "dataset.json", "folds.json"
# Folders that are easily named in the place of a data set, by a file of theirs.
_OTHERS = {
    "settings.yaml": "the run folder of a training",
    "features.json": "a features folder of 'lmd embed'",
}


class DatasetInfo(Settings):
    """What dataset.json says of a data set."""

    title: str
    classes: list[str]
    # Version 0.1 wrote "groups" and "groups_rule". A group is the images of one patient or lesion.
    bands: dict[str, list[str]] = Field(validation_alias=AliasChoices("bands", "groups"))
    """frequency bands: the classes of head, medium and tail"""
    bands_rule: str = Field(validation_alias=AliasChoices("bands_rule", "groups_rule"))
    """how the classes were put into bands, in words"""
    licence: str
    citation: str
    source: str
    recipe: dict[str, Any]
    """how it was made: seed, split and what else the source was told"""
    image_root: str
    """folder that the manifest's files are relative to; absolute, or relative to the dataset folder"""
    manifest_sha256: str = ""
    tables_sha256: dict[str, str] = Field(default_factory=dict)
    """hashes of the tables that it was made of, by name"""
    grouping: Grouping | None = None
    """whose images stay together; None in data sets of version 0.1"""
    list_only: bool = False
    """whether the images need not be there: enough to count, not to train"""

    @model_validator(mode="after")
    def _check_contents(self) -> DatasetInfo:
        """Refuses what has the right types and cannot be: the rest of lmd relies on it."""
        if not all(name.strip() for name in self.classes):
            raise ValueError("classes: a class has no name")
        in_bands = [name for names in self.bands.values() for name in names]
        unknown = sorted({*in_bands} - {*self.classes})
        if unknown:
            raise ValueError(f"bands: '{shortened(unknown[0])}' is none of the classes")
        if len(set(in_bands)) < len(in_bands):
            raise ValueError("bands: a class is in two of them")
        if "\0" in self.image_root:
            raise ValueError("image_root: no folder has a NUL in its name")
        for name, most in (("frame", None), ("bits", 16)):
            _check_number(name, self.recipe.get(name), most)
        return self


def _check_number(name: str, value: Any, most: int | None) -> None:
    """Refuses what the recipe says of how images are read, where it is no number for that."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1 or value > (most or value):
        allowed = "from 1 on" if most is None else f"from 1 to {most}"
        raise ValueError(f"recipe.{name} = {shortened(repr(value))}: must be a whole number {allowed}")


def _what_it_is(folder: Path) -> str:
    """What a folder without dataset.json is, and the way to a dataset folder."""
    for file, kind in _OTHERS.items():
        if (folder / file).is_file():
            return f"is {kind}, and a dataset folder is asked for here"
    return f"is not a dataset folder: it has no {INFO}; {_way(folder)}"


def _way(path: Path) -> str:
    """How to make a dataset folder of what was named, which may not be there."""
    if path.is_file():
        return f"make one of a table with 'lmd prepare table --table {shlex.quote(str(path))} --out DATA'"
    if path.is_dir():
        return f"make one of images with 'lmd prepare folder --root {shlex.quote(str(path))} --out DATA'"
    return "make one with 'lmd prepare'"


def read_info(folder: Path) -> DatasetInfo:
    """Returns the dataset.json of a folder.

    Raises:
        DataError: this is no dataset folder, or the file is damaged.
    """
    if not folder.is_dir():
        raise DataError(f"no dataset folder {folder}; {_way(folder)}")
    if not any((folder / file).is_file() for file in (INFO, MANIFEST)):
        raise DataError(f"{folder} {_what_it_is(folder)}")
    try:
        return read_json(DatasetInfo, folder / INFO, DataError)
    except OSError as error:
        raise DataError(f"{folder} is not a dataset folder: cannot read {INFO} ({error.strerror})") from error
