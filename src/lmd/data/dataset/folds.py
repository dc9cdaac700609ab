"""Makes several dataset folders of one data set: folds for cross-validation, and repeated splits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.folds_folder import FoldsInfo, write_info
from lmd.data.dataset.longtail import folds_by_group, split_by_group, split_by_image
from lmd.data.dataset.manifest import Dataset, with_splits
from lmd.data.dataset.output import becoming, refuse_used
from lmd.errors import DataError
from lmd.settings import Tree

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """One of the dataset folders that a command makes: its place below OUT, its seed, its fold from 1."""

    name: str
    seed: int
    repeat: int | None = None
    fold: int | None = None

    def told(self) -> Tree:
        """Returns what the recipe says of it."""
        numbers = {"seed": self.seed, "repeat": self.repeat, "fold": self.fold}
        return {name: number for name, number in numbers.items() if number is not None}


def parts(seed: int, folds: int | None, repeats: int | None) -> list[Part]:
    """Returns the dataset folders to make; without folds and repeats it is one, OUT itself.

    >>> [part.name for part in parts(42, folds=2, repeats=2)]
    ['repeat-1/fold-1', 'repeat-1/fold-2', 'repeat-2/fold-1', 'repeat-2/fold-2']
    """
    rounds = [None] if repeats is None else list(range(1, repeats + 1))
    tests = [None] if folds is None else list(range(1, folds + 1))
    return [_part(seed, repeat, fold) for repeat in rounds for fold in tests]


def _part(seed: int, repeat: int | None, fold: int | None) -> Part:
    names = {"repeat": repeat, "fold": fold}
    name = "/".join(f"{word}-{number}" for word, number in names.items() if number is not None)
    return Part(name, seed + (repeat or 1) - 1, repeat, fold)


def write_parts(out: Path, wanted: list[Part], write: Callable[[Path, Part], Dataset]) -> list[Dataset]:
    """Writes all dataset folders with their folds.json, or none where one fails; returns them.

    Raises:
        DataError: a folder cannot be made of the data, or cannot be written.
    """
    if len(wanted) == 1 and not wanted[0].name:
        return [write(out, wanted[0])]
    refuse_used(out)
    with becoming(out) as unfinished:
        datasets = [write(unfinished / part.name, part) for part in wanted]
        write_info(unfinished, _info(wanted, datasets))
    _log.warning("%d dataset folders: %s ... %s", len(wanted), out / wanted[0].name, out / wanted[-1].name)
    return [replace(dataset, folder=out / part.name) for dataset, part in zip(datasets, wanted, strict=True)]


def _info(wanted: list[Part], datasets: list[Dataset]) -> FoldsInfo:
    names = zip([part.name for part in wanted], datasets, strict=True)
    return FoldsInfo(
        title=datasets[0].info.title,
        folds=wanted[-1].fold,
        repeats=wanted[-1].repeat,
        seed=wanted[0].seed,
        manifests_sha256={name: dataset.info.manifest_sha256 for name, dataset in names},
    )


def divided(
    table: pd.DataFrame, by_image: bool, fractions: tuple[float, float, float], folds: int | None, part: Part
) -> pd.DataFrame:
    """Returns a table with its split column: as given where it has one, else by fold or by fractions."""
    if "split" in table.columns:
        return table
    labels, groups = table["label"].to_numpy(), table["group"].to_numpy()
    if folds is not None:
        groups = np.arange(len(table)).astype(str) if by_image else groups
        refuse_single_groups(labels, groups)
        chosen = folds_by_group(labels, groups, folds, part.seed)
        return with_splits(table, fold_splits(labels, groups, chosen, fractions, part))
    if by_image:
        return with_splits(table, split_by_image(labels, fractions, part.seed))
    return with_splits(table, split_by_group(labels, groups, fractions, part.seed))


def fold_splits(
    labels: np.ndarray,
    groups: np.ndarray,
    folds: np.ndarray,
    fractions: tuple[float, float, float],
    part: Part,
) -> np.ndarray:
    """Returns the split of each image where one fold is the test: validation is its share of the rest.

    `folds` numbers the fold of each image from 0; fold-1 is number 0.

    Raises:
        DataError: the fractions leave nothing for training.
    """
    if fractions[0] <= 0:
        words = ",".join(f"{share:g}" for share in fractions)
        raise DataError(f"folds need images to train on: --fractions {words} gives training no share")
    share = fractions[1] / (fractions[0] + fractions[1])
    assert part.fold is not None
    rest = folds != part.fold - 1
    splits = np.full(len(labels), SPLITS[2], dtype="<U5")
    splits[rest] = split_by_group(labels[rest], groups[rest], (1 - share, share, 0.0), part.seed)
    return splits


def refuse_single_groups(labels: np.ndarray, groups: np.ndarray) -> None:
    """Refuses a class that one fold would test without any training image.

    Raises:
        DataError: all images of a class are of one group.
    """
    for name in np.unique(labels):
        if len(np.unique(groups[labels == name])) < 2:
            raise DataError(
                f"class '{name}' has images of a single group (lesion, patient) only: where its fold is the "
                "test, nothing is left to train on; leave the class out, or do without --folds"
            )
