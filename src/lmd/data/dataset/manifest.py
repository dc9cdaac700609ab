"""A dataset folder: manifest.csv and dataset.json, read, written and checked."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, cast

import numpy as np
import pandas as pd
from pydantic import AliasChoices, Field, ValidationError

from lmd.errors import DataError, suggest
from lmd.settings import Settings

COLUMNS = ("id", "file", "label", "split", "group")
SPLITS = ("train", "val", "test")
MANIFEST, INFO = "manifest.csv", "dataset.json"
LEAKY = ("image", "paper")  # Splits by image, made so on purpose: groups may cross them.


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
    recipe: dict[str, Any]  # How it was made: seed, split and whatever else the source was told.
    image_root: str  # Relative to the dataset folder, or absolute.
    manifest_sha256: str = ""
    tables_sha256: dict[str, str] = Field(default_factory=dict)  # The tables it was made of -> their hashes.
    list_only: bool = False  # The images need not be there: enough to count, not to train.


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

    def paths(self) -> list[Path]:
        """Returns the image files, in table order.

        Raises:
            DataError: the data set was prepared as a list, and images are not there.
        """
        if self.info.list_only:
            _check_files(self, "; the data set was prepared with --list-only: enough to count, not to train")
        return [self.root / file for file in self.table["file"]]


def write_dataset(
    folder: Path, table: pd.DataFrame, info: DatasetInfo, fill: Callable[[Path], None] | None = None
) -> Dataset:
    """Checks a table and writes a dataset folder, whole or not at all.

    `fill` may put more into the unfinished folder, such as images; it is called once the table is sound.

    Raises:
        DataError: the folder is in use, the table is not sound, or the disk is full.
    """
    refuse_used(folder)
    table = table.astype("object").where(table.notna(), "").astype(str)
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


def _encoded(table: pd.DataFrame) -> bytes:
    text = table.to_csv(index=False, lineterminator="\n")
    if "\r" in text:  # Of all that ends a line this alone is not put in quotes, and would cut the row.
        text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_ALL)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        near = ascii(error.object[max(0, error.start - 20) : error.end + 20])
        raise DataError(f"a name is not UTF-8 text (near {near}); rename that file or folder") from error


@contextmanager
def becoming(folder: Path) -> Iterator[Path]:
    """Gives an empty folder beside `folder` that becomes it on success and vanishes on failure."""
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        yield temporary
        temporary.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        temporary.replace(folder)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def refuse_used(folder: Path) -> None:
    """Refuses an output folder that exists and is not empty.

    Raises:
        DataError: the folder is in use.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"output folder {folder} is not empty; choose another")


def read_dataset(folder: Path, check_files: bool = True) -> Dataset:
    """Returns a dataset folder after checking all of it; with `check_files=False` images may be missing.

    Raises:
        DataError: one line on what is wrong: missing files, a changed manifest, an unsound table.
    """
    info = _read_info(folder)
    try:
        csv = (folder / MANIFEST).read_bytes()
        table = pd.read_csv(folder / MANIFEST, dtype=str, keep_default_na=False)
    except OSError as error:
        raise DataError(
            f"{folder} is not a dataset folder: cannot read {MANIFEST} ({error.strerror})"
        ) from error
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{folder / MANIFEST} is not a table: {error}") from error
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


def _read_info(folder: Path) -> DatasetInfo:
    if not folder.is_dir():
        raise DataError(f"no dataset folder {folder}; make one with 'lmd prepare'")
    try:
        return DatasetInfo.model_validate_json((folder / INFO).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{folder} is not a dataset folder: cannot read {INFO} ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise DataError(f"{folder / INFO} is not sound: {name} {first['msg']}") from error


def check_table(table: pd.DataFrame, info: DatasetInfo) -> None:
    """Checks a manifest.

    Raises:
        DataError: the first thing that is wrong, named.
    """
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"the manifest lacks the column '{missing[0]}'; it needs {', '.join(COLUMNS)}")
    if table.empty:
        raise DataError("the manifest has no images")
    _check_values(table)
    _check_inside(table)
    _check_unique(table)
    _check_labels(table, info.classes)
    if info.recipe.get("split") not in LEAKY:
        _check_groups(table)


def _check_values(table: pd.DataFrame) -> None:
    for column in COLUMNS:
        empty = table.index[table[column].str.strip() == ""]
        if len(empty):
            raise DataError(
                f"the manifest has no {column} in row {int(empty[0]) + 2} (and {len(empty) - 1} more)"
            )
    for name in table["split"].unique():
        if name not in SPLITS:
            raise DataError(f"unknown split '{name}' in the manifest{suggest(name, SPLITS)}")


def _check_inside(table: pd.DataFrame) -> None:
    """Refuses files outside of the image folder: a manifest must not reach the rest of the disk."""
    for file in table["file"]:
        path = PurePath(file)
        if path.is_absolute() or ".." in path.parts:
            raise DataError(f"image '{file}' lies outside of the image folder; its path must be below it")


def _check_unique(table: pd.DataFrame) -> None:
    double = table["id"][table["id"].duplicated()]
    if len(double):
        raise DataError(
            f"id '{double.iloc[0]}' stands more than once in the manifest ({len(double)} such rows)"
        )
    per_file = table.groupby("file")["split"].nunique()
    crossing = per_file[per_file > 1]
    if len(crossing):
        raise DataError(
            f"image '{crossing.index[0]}' is in more than one split ({len(crossing)} such images)"
        )
    double = table["file"][table["file"].duplicated()]
    if len(double):
        raise DataError(f"image '{double.iloc[0]}' stands more than once in the manifest")


def _check_labels(table: pd.DataFrame, classes: list[str]) -> None:
    if len(set(classes)) != len(classes):
        name = Counter(classes).most_common(1)[0][0]
        raise DataError(f"class '{name}' stands more than once in the list of classes")
    if len(classes) < 2:
        raise DataError(f"a data set needs at least two classes, found {classes}")
    for name in table["label"].unique():
        if name not in classes:
            row = table.index[table["label"] == name][0]
            raise DataError(
                f"label '{name}' (image '{table['id'][row]}') is not a class{suggest(name, classes)}"
            )
    trained = set(table["label"][table["split"] == "train"])
    for name in classes:
        if name not in set(table["label"]):
            raise DataError(f"class '{name}' is empty: it has no image at all")
        if name not in trained:
            raise DataError(f"class '{name}' has no training image")


def crossing_groups(table: pd.DataFrame) -> list[str]:
    """Returns the groups (lesions, patients) that have images in more than one split."""
    splits = table.groupby("group")["split"].nunique()
    return [str(name) for name in splits.index[splits > 1]]


class Leakage(Settings):
    """How much of the test was seen in training."""

    groups: int
    """groups (lesions, patients) with images in training and in the test"""
    test_images: int
    """test images of these groups"""
    of_test_images: int
    """test images in all"""


def leakage(table: pd.DataFrame) -> Leakage:
    """Returns how many groups are in training and in the test, and how many test images they have there."""
    trained = table["group"][table["split"] == "train"]
    tested = table["group"][table["split"] == "test"]
    seen = tested[tested.isin(trained)]
    return Leakage(groups=int(seen.nunique()), test_images=len(seen), of_test_images=len(tested))


def _check_groups(table: pd.DataFrame) -> None:
    crossing = crossing_groups(table)
    if crossing:
        raise DataError(
            f"group '{crossing[0]}' has images in more than one split ({len(crossing)} such groups): a model "
            "would be tested on what it was trained on; split by group, or by image if that is meant"
        )


def _check_files(dataset: Dataset, why: str = "") -> None:
    missing = [file for file in dataset.table["file"] if not (dataset.root / file).is_file()]
    if missing:
        raise DataError(
            f"image '{missing[0]}' is missing in {dataset.root} ({len(missing)} missing in all){why}"
        )


def with_splits(table: pd.DataFrame, splits: np.ndarray) -> pd.DataFrame:
    """Returns a table with its split column and the five columns first."""
    table = table.assign(split=splits)
    rest = [name for name in table.columns if name not in COLUMNS]
    return cast("pd.DataFrame", table[[*COLUMNS, *rest]])
