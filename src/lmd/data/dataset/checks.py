"""What a manifest must be: its columns and splits, and the first thing that is wrong with it."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath

import pandas as pd

from lmd.data.dataset.info import DatasetInfo
from lmd.errors import DataError, suggest
from lmd.settings import Settings
from lmd.text import numbered

COLUMNS = ("id", "file", "label", "split", "group")
SPLITS = ("train", "val", "test")
LEAKY = ("image", "paper")  # Splits by image, made so on purpose: groups may cross them.


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
            f"id '{double.iloc[0]}' stands more than once in the manifest "
            f"({numbered(len(double), 'such row')})"
        )
    per_file = table.groupby("file")["split"].nunique()
    crossing = per_file[per_file > 1]
    if len(crossing):
        raise DataError(
            f"image '{crossing.index[0]}' is in more than one split ({numbered(len(crossing), 'such image')})"
        )
    double = table["file"][table["file"].duplicated()]
    if len(double):
        raise DataError(f"image '{double.iloc[0]}' stands more than once in the manifest")


def _check_labels(table: pd.DataFrame, classes: list[str]) -> None:
    if len(set(classes)) != len(classes):
        name = Counter(classes).most_common(1)[0][0]
        raise DataError(f"class '{name}' stands more than once in the list of classes")
    trained = set(table["label"][table["split"] == "train"])
    if trained and len(classes) < 2:
        raise DataError(f"a data set needs at least two classes, found {classes}")
    for name in table["label"].unique():
        if name not in classes:
            row = table.index[table["label"] == name][0]
            raise DataError(
                f"label '{name}' (image '{table['id'][row]}') is not a class{suggest(name, classes)}"
            )
    present = set(table["label"])
    for name in classes:
        if name not in present:
            raise DataError(f"class '{name}' is empty: it has no image at all")
        if trained and name not in trained:  # Without any it is a set for testing a model of other images.
            raise DataError(
                f"class '{name}' has no training image: give it some, leave it out, or name it as in training"
            )


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
            f"group '{crossing[0]}' has images in more than one split "
            f"({numbered(len(crossing), 'such group')}): a model "
            "would be tested on what it was trained on; split by group, or by image if that is meant"
        )
