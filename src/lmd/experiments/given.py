"""The data that an experiment was given: for each of its blocks a dataset folder, or the folds of one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lmd.data.dataset.folds_folder import by_repeat, is_folds, read_folds
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.errors import DataError, SettingsError
from lmd.experiments.base import BAND_NAMES, Block, Experiment

FEWEST_POINTS = 10  # Of a projection: below that a picture says nothing.
PHANTOM = "phantom"


@dataclass(frozen=True)
class Given:
    """The data of a block: one data set under the name "", or its folds by their names below the folder."""

    folder: Path
    parts: Mapping[str, Dataset]

    @property
    def first(self) -> Dataset:
        """The data set, or its first fold: classes, title and bands are those of all."""
        return next(iter(self.parts.values()))

    @property
    def folded(self) -> bool:
        """Whether these are folds, whose answers are pooled."""
        return "" not in self.parts

    @cached_property
    def rounds(self) -> dict[str, list[str]]:
        """The parts that together test each image once, by the first of them."""
        return {names[0]: names for names in by_repeat(list(self.parts))}

    @cached_property
    def test_counts(self) -> np.ndarray:
        """The test images of each class, those of all folds of one repetition together."""
        names = next(iter(self.rounds.values()))
        return np.sum([self.parts[name].counts("test") for name in names], axis=0)

    @property
    def train_counts(self) -> np.ndarray:
        """The training images of each class; those of the first fold."""
        return self.first.counts("train")

    @property
    def manifest_sha256(self) -> str:
        """What tells these data from others: the manifest's hash, or the hash of those of all folds."""
        hashes = [part.info.manifest_sha256 for part in self.parts.values()]
        return hashes[0] if not self.folded else hashlib.sha256("".join(hashes).encode()).hexdigest()

    @property
    def imbalance(self) -> float:
        """The training images of the largest class over those of the smallest."""
        return float(self.train_counts.max() / max(self.train_counts.min(), 1))

    def is_the_papers(self, block: Block) -> bool | None:
        """Says whether the training counts are those of the paper's data set; None where it names none."""
        if not block.counts:
            return None
        return not self.folded and sorted(self.train_counts.tolist()) == sorted(block.counts)


def find_data(experiment: Experiment, data: Sequence[str]) -> dict[str, Given]:
    """Returns the data of each block that some were named for.

    Raises:
        SettingsError, DataError: one line on what is wrong.
    """
    if not data:
        raise SettingsError(f"{experiment.name} needs --data, a dataset folder made by 'lmd prepare'")
    keys = [block.key for block in experiment.blocks]
    if len(keys) == 1 and len(data) > 1:
        raise SettingsError(f"{experiment.name} is of one data set: name one --data, not {len(data)}")
    found: dict[str, Given] = {}
    for text in data:
        key, folder = _split_label(text, keys)
        given = _read(folder)
        _check_all(experiment, given)
        key = key or _nearest_block(experiment, given, len(data))
        if key in found:
            raise SettingsError(f"--data: two folders for '{key}' ({found[key].folder} and {folder})")
        if any(given.manifest_sha256 == other.manifest_sha256 for other in found.values()):
            raise DataError(f"--data: {folder} is the same data set as another of this call")
        found[key] = given
    return {key: found[key] for key in keys if key in found}


def _read(folder: Path) -> Given:
    """A dataset folder, or all folds of one."""
    if is_folds(folder):
        return Given(folder, read_folds(folder).datasets)
    return Given(folder, {"": read_dataset(folder)})


def _split_label(text: str, keys: list[str]) -> tuple[str | None, Path]:
    """Takes `100=DIR` apart; without a label, or where the text is a folder as it stands, there is none."""
    label, equals, folder = text.partition("=")
    if not equals or Path(text).is_dir():
        return (keys[0] if len(keys) == 1 else None), Path(text)
    if len(keys) == 1:
        raise SettingsError(f"--data {text}: this experiment has one data set; name the folder alone")
    if label not in keys:
        raise SettingsError(f"--data {text}: no column '{label}'; known: {', '.join(keys)}")
    return label, Path(folder)


def _nearest_block(experiment: Experiment, given: Given, number: int) -> str:
    """The block whose imbalance is nearest to that of a folder without a label."""
    if number > 1:
        first = experiment.blocks[0].key
        raise SettingsError(f"several --data: say which is which, as in --data {first}={given.folder}")
    return min(experiment.blocks, key=lambda block: abs(np.log(float(block.key) / given.imbalance))).key


def _check_all(experiment: Experiment, given: Given) -> None:
    """Refuses data on which the table could not be filled."""
    if given.folded and experiment.points is not None:
        raise DataError(
            f"{experiment.name} shows the features of one model of each row, and {given.folder} holds folds: "
            f"name one dataset folder, such as {given.first.folder}"
        )
    for dataset in given.parts.values():
        _check_dataset(experiment, dataset)


def _check_dataset(experiment: Experiment, dataset: Dataset) -> None:
    if not dataset.counts("train").any():
        raise DataError(f"{experiment.name} trains its runs; {dataset.folder} has no training image")
    if not dataset.counts("test").sum():
        raise DataError(f"{experiment.name} is measured on the test split; {dataset.folder} has none")
    if not experiment.needs_bands:
        return
    lacking = [band for band in BAND_NAMES if not dataset.info.bands.get(band)]
    if lacking:
        bands = ", ".join(dataset.info.bands) or "none"
        raise DataError(
            f"{experiment.name} needs classes in head, medium and tail; {dataset.folder} has none in "
            f"{lacking[0]} (bands: {bands})"
        )
    if experiment.points is not None:
        _check_points(experiment, dataset)


def _check_points(experiment: Experiment, dataset: Dataset) -> None:
    names = shown_classes(experiment, dataset)
    number = int(dataset.split("test")["label"].isin(names).sum())
    if number < FEWEST_POINTS or len(names) < 2:
        raise DataError(
            f"{experiment.name} shows the test images of {', '.join(names)}: {dataset.folder} has {number}, "
            f"and at least {FEWEST_POINTS} of two classes are needed"
        )


def shown_classes(experiment: Experiment, dataset: Dataset) -> list[str]:
    """Returns the classes that a projection shows, those without a test image left out.

    They are those of the paper's figure; on data that lack one of them, those that `points` names.
    """
    count = dict(zip(dataset.classes, dataset.counts("test"), strict=True))
    return [name for name in _wanted_classes(experiment, dataset, count) if count[name]]


def _wanted_classes(experiment: Experiment, dataset: Dataset, count: dict[str, int]) -> Sequence[str]:
    bands = dataset.info.bands
    if set(experiment.paper.classes) <= set(dataset.classes):
        return experiment.paper.classes
    if experiment.points == "largest":
        return [max(bands[band], key=lambda name: count[name]) for band in BAND_NAMES]
    return bands["tail"]
