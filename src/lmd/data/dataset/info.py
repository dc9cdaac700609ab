"""dataset.json: what a dataset folder says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field, ValidationError

from lmd.data.dataset.meaning.grouping import Grouping
from lmd.errors import DataError
from lmd.fields import first_fault
from lmd.settings import Settings

MANIFEST, INFO, FOLDS = "manifest.csv", "dataset.json", "folds.json"


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


def read_info(folder: Path) -> DatasetInfo:
    """Returns the dataset.json of a folder.

    Raises:
        DataError: this is no dataset folder, or the file is damaged.
    """
    if not folder.is_dir():
        raise DataError(f"no dataset folder {folder}; make one with 'lmd prepare'")
    try:
        return DatasetInfo.model_validate_json((folder / INFO).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{folder} is not a dataset folder: cannot read {INFO} ({error.strerror})") from error
    except ValidationError as error:
        raise DataError(f"{folder / INFO} is damaged: {first_fault(error)}") from error
