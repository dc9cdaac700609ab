"""A dataset folder: manifest.csv and dataset.json, read, written and checked."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from lmd.data.dataset.checks import COLUMNS, SPLITS, check_table
from lmd.data.dataset.info import INFO, MANIFEST, DatasetInfo, read_info
from lmd.data.dataset.output import becoming, refuse_used
from lmd.data.decode.members import Member, image_path
from lmd.errors import DataError, suggest
from lmd.files import is_file
from lmd.spreadsheet import guarded_table, unguarded_table

_KEPT = 100_000  # Images whose paths are kept: of a million they would take 500 MB.


@dataclass(frozen=True)
class Dataset:
    """A checked dataset folder."""

    folder: Path
    table: pd.DataFrame
    info: DatasetInfo

    @property
    def classes(self) -> list[str]:
        """The class names, in the order of the logits."""
        return self.info.classes

    @cached_property
    def root(self) -> Path:
        """The folder that the manifest's files are relative to."""
        return (self.folder / self.info.image_root).resolve()

    def split(self, name: str) -> pd.DataFrame:
        """Returns the rows of a split.

        Raises:
            DataError: there is no such split.
        """
        if name not in SPLITS:
            raise DataError(f"unknown split '{name}'{suggest(name, SPLITS)}")
        return cast("pd.DataFrame", self.table[self.table["split"] == name])

    def labels(self, split: str) -> np.ndarray:
        """Returns the class index of each image of a split."""
        number = {name: k for k, name in enumerate(self.classes)}
        return np.array([number[name] for name in self.split(split)["label"]], dtype=np.int64)

    def counts(self, split: str) -> np.ndarray:
        """Returns the number of images of each class in a split."""
        return np.bincount(self.labels(split), minlength=len(self.classes))

    def path(self, file: str) -> Path:
        """Returns where a file of the manifest is: on the disk, or in a shard."""
        return image_path(self.root, file)

    def paths(self) -> list[Path]:
        """Returns the image files, in table order.

        Raises:
            DataError: the data set was prepared as a list, and images are not there.
        """
        if self.info.list_only:
            _check_files(self, "; the data set was prepared with --list-only: enough to count, not to train")
        return self._paths if len(self.table) <= _KEPT else self._made_paths()

    @cached_property
    def _paths(self) -> list[Path]:
        """Those of a set that is not large: each training asks for them several times."""
        return self._made_paths()

    def _made_paths(self) -> list[Path]:
        return [self.path(file) for file in self.table["file"]]


def write_dataset(
    folder: Path, table: pd.DataFrame, info: DatasetInfo, fill: Callable[[Path], None] | None = None
) -> Dataset:
    """Checks a table and writes a dataset folder, whole or not at all.

    `fill` may put more into the unfinished folder, such as images; it is called once the table is sound.

    Raises:
        DataError: the folder is in use, the table is not sound, or the disk is full.
    """
    refuse_used(folder)
    table = _texts(table)
    check_table(table, info)
    csv = _encoded(table)
    info = info.model_copy(update={"manifest_sha256": hashlib.sha256(csv).hexdigest()})
    text = json.dumps(info.model_dump(), indent=2, ensure_ascii=False) + "\n"
    with becoming(folder) as unfinished:
        if fill is not None:
            fill(unfinished)
        (unfinished / MANIFEST).write_bytes(csv)
        (unfinished / INFO).write_text(text, encoding="utf-8")
    return Dataset(folder, table.reset_index(drop=True), info)


def _texts(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every value as text; where pyarrow is installed, pandas takes Unicode alone."""
    try:
        return table.astype("object").where(table.notna(), "").astype(str)
    except UnicodeEncodeError as error:
        raise _no_text(error) from error


def _no_text(error: UnicodeEncodeError) -> DataError:
    near = ascii(error.object[max(0, error.start - 20) : error.end + 20])
    return DataError(f"a name is not UTF-8 text (near {near}); rename that file or folder")


def _encoded(table: pd.DataFrame) -> bytes:
    table = guarded_table(table)
    text = table.to_csv(index=False, lineterminator="\n")
    if "\r" in text:  # Of all that ends a line this alone is not put in quotes, and would cut the row.
        text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_ALL)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise _no_text(error) from error


def read_dataset(folder: Path, check_files: bool = True) -> Dataset:
    """Returns a dataset folder after checking all of it; with `check_files=False` images may be missing.

    Raises:
        DataError: one line on what is wrong: missing files, a changed manifest, an unsound table.
    """
    info = read_info(folder)
    try:
        csv = (folder / MANIFEST).read_bytes()
        table = unguarded_table(pd.read_csv(folder / MANIFEST, dtype=str, keep_default_na=False))
    except OSError as error:
        raise DataError(
            f"{folder} is not a dataset folder: cannot read {MANIFEST} ({error.strerror})"
        ) from error
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{folder / MANIFEST} is not a table: {error}") from error
    if b"\0" in csv or not isinstance(table.index, pd.RangeIndex):  # A row has more values than the header.
        raise DataError(
            f"{folder / MANIFEST} is not a table: its rows have more values than its header, or a NUL"
        )
    check_table(table, info)
    if hashlib.sha256(csv).hexdigest() != info.manifest_sha256:
        raise DataError(
            f"{folder / MANIFEST} was changed after it was made (its sha256 is not the one in {INFO}); "
            "prepare the data set again, with 'lmd prepare table' if the changed table is what you want"
        )
    dataset = Dataset(folder, table, info)
    if check_files and not info.list_only:
        _check_files(dataset)
    return dataset


def _check_files(dataset: Dataset, why: str = "") -> None:
    missing = [file for file in dataset.table["file"] if not _is_there(dataset, file)]
    if missing:
        raise DataError(
            f"image '{missing[0]}' is missing in {dataset.root} ({len(missing)} missing in all){why}"
        )


def _is_there(dataset: Dataset, file: str) -> bool:
    """Whether a file is there; of a member of a shard, whether its shard is."""
    return is_file(dataset.root / file) or isinstance(dataset.path(file), Member)


def with_splits(table: pd.DataFrame, splits: np.ndarray) -> pd.DataFrame:
    """Returns a table with its split column and the five columns first."""
    table = table.assign(split=splits)
    rest = [name for name in table.columns if name not in COLUMNS]
    return cast("pd.DataFrame", table[[*COLUMNS, *rest]])
