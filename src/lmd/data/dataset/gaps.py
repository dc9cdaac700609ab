"""What the splits of a data set lack, and what that means for training and evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from lmd.data.dataset.checks import LEAKY
from lmd.data.dataset.manifest import Dataset
from lmd.text import listed

_SHOWN = 10  # Classes that a line names.
_NAMES = {"val": "validation", "test": "test"}
_EMPTY = {
    "val": "validation is empty: it cannot choose an epoch, training keeps the last one",
    "test": "the test is empty: nothing can be evaluated",
}
# What it means that classes have no image, or one: said of one class, and of several.
_MEANS = {
    ("val", 0): ("the epoch is chosen without its recall", "the epoch is chosen without their recall"),
    ("test", 0): ("its recall cannot be measured", "their recall cannot be measured"),
    ("val", 1): ("its recall there can only be 0 or 1", "the recall of each there can only be 0 or 1"),
    ("test", 1): ("its recall can only be 0 or 1", "the recall of each can only be 0 or 1"),
}


def gap_lines(datasets: Sequence[Dataset]) -> list[str]:
    """Returns what validation and test lack, of one data set or of several divisions of the same images."""
    if not any(dataset.counts("train").any() for dataset in datasets):
        first = "no training images: the set is for 'lmd evaluate RUN --data' alone"
        return [first, *(line for split in _NAMES for line in _lines(datasets, split, (1,)))]
    return [line for split in _NAMES for line in _lines(datasets, split, (0, 1))]


def _lines(datasets: Sequence[Dataset], split: str, numbers: Sequence[int]) -> Iterator[str]:
    """The lines of one split: whether it is empty, and the classes that have so few images there."""
    counts = np.stack([dataset.counts(split) for dataset in datasets])
    there = counts.sum(axis=1) > 0
    if not there.all() and 0 in numbers:
        yield f"{_where(~there)}{_EMPTY[split]}{_why_empty(datasets[0])}"
    for number in numbers:
        few = (counts == number) & there[:, None]
        names = [name for name, found in zip(datasets[0].classes, few.any(axis=0), strict=True) if found]
        if names:
            why = _why_absent(datasets[0], names) if number == 0 else ""
            meaning = _MEANS[split, number][len(names) > 1]
            yield f"{_where(few.any(axis=1))}{_NAMES[split]} has {_what(number, names)}: {meaning}{why}"


def _where(found: np.ndarray) -> str:
    """In how many of several data sets it is so; nothing of one alone."""
    return f"in {found.sum()} of {len(found)} data sets " if len(found) > 1 else ""


def _what(number: int, names: list[str]) -> str:
    """How many images of which classes.

    >>> _what(0, ["a"]), _what(1, ["a", "b"])
    ('no image of class a', '1 image of each of 2 classes (a, b)')
    """
    image = "1 image" if number else "no image"
    if len(names) == 1:
        return f"{image} of class {names[0]}"
    return f"{image} of {'each of ' if number else ''}{len(names)} classes ({listed(names, _SHOWN)})"


def _why_empty(dataset: Dataset) -> str:
    if not _by_group(dataset) or dataset.table["group"].nunique() > 1 or len(dataset.table) == 1:
        return ""
    return f" (all {len(dataset.table)} images are one group, such as a patient, which is not divided)"


def _why_absent(dataset: Dataset, names: list[str]) -> str:
    """Which of the classes are absent because their images stay together."""
    alone = [name for name in names if _in_one_group(dataset.table, name)]
    if not alone or not _by_group(dataset):
        return ""
    of_each = "its images" if len(names) == 1 else f"the images of {listed(alone, _SHOWN)}"
    return f" ({of_each} are one group, such as a patient, which is not divided)"


def _in_one_group(table: pd.DataFrame, name: str) -> bool:
    groups = table["group"][table["label"] == name]
    return groups.nunique() == 1 and len(groups) > 1


def _by_group(dataset: Dataset) -> bool:
    """Whether groups decided about the splits."""
    recipe = dataset.info.recipe
    return recipe.get("split") not in LEAKY and recipe.get("splits") != "as given"
