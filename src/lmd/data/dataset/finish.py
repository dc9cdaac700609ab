"""A table of usable images becomes dataset folders: bands, splits, and what the recipe says of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from lmd.data.dataset.checks import SPLITS, Leakage, leakage
from lmd.data.dataset.folds import Part, divided, parts, write_parts
from lmd.data.dataset.gaps import gap_lines
from lmd.data.dataset.longtail import head_medium_tail
from lmd.data.dataset.manifest import Dataset, DatasetInfo, with_splits, write_dataset
from lmd.data.dataset.options import RawOptions
from lmd.data.dataset.reading.tables import hashes
from lmd.data.dataset.usable import Skipped
from lmd.errors import DataError
from lmd.settings import Tree
from lmd.spreadsheet import guarded_table
from lmd.text import numbered

_log = logging.getLogger(__name__)
_NO_BANDS = "none: bands are by training count, and no image is for training"

Arrange = Callable[[Part], tuple[pd.DataFrame, Tree]]
Banding = Callable[[list[str], np.ndarray], tuple[dict[str, list[str]], str]]


def finish(
    out: Path,
    table: pd.DataFrame,
    classes: list[str],
    recipe: Tree,
    fill: Callable[[Path], None] | None = None,
    banding: Banding = head_medium_tail,
    **about: Any,
) -> Dataset:
    """Writes the dataset folder of a table that has its splits, and says what is to be known of them."""
    dataset = _write(out, table, classes, recipe, fill, banding, **about)
    _say([dataset])
    return dataset


def _write(
    out: Path,
    table: pd.DataFrame,
    classes: list[str],
    recipe: Tree,
    fill: Callable[[Path], None] | None = None,
    banding: Banding = head_medium_tail,
    **about: Any,
) -> Dataset:
    """Puts the classes of a table that has its splits into frequency bands, and writes the dataset folder."""
    trained = table["label"][table["split"] == SPLITS[0]].value_counts()
    counts = np.array([int(trained.get(name, 0)) for name in classes])
    bands, rule = banding(classes, counts) if counts.any() else ({}, _NO_BANDS)
    found = leakage(table)
    recipe = {**recipe, **({"leakage": found.model_dump()} if found.groups else {})}
    info = DatasetInfo(classes=classes, bands=bands, bands_rule=rule, recipe=recipe, **about)
    return write_dataset(out, with_splits(table, table["split"].to_numpy()), info, fill)


def _say(datasets: Sequence[Dataset]) -> None:
    """Warns of leaks between the splits, and of what the splits lack: once for all data sets of a command."""
    leaks = [Leakage(**told) for dataset in datasets if (told := dataset.info.recipe.get("leakage"))]
    if leaks:
        _log.warning(
            "%d of %d test images show one of the %s that training images show too%s",
            sum(leak.test_images for leak in leaks),
            sum(leak.of_test_images for leak in leaks),
            numbered(sum(leak.groups for leak in leaks), "lesion or patient", "lesions or patients"),
            f" (in {len(leaks)} of {len(datasets)} data sets)" if len(datasets) > 1 else "",
        )
    for line in gap_lines(datasets):
        _log.warning(line)


def finish_raw(
    out: Path,
    table: pd.DataFrame,
    classes: list[str],
    options: RawOptions,
    skipped: Skipped,
    recipe: Tree | None = None,
    folds: int | None = None,
    arrange: Arrange | None = None,
    tables: Iterable[Path] = (),
    **about: Any,
) -> Dataset:
    """Divides a table of usable images where it is not, and writes one dataset folder or one for each fold.

    `arrange` gives the rows of a part with their splits, out of which those of `table` are taken, and what
    the recipe has to say of them; without it `table` itself is divided as the options say.
    """
    if table.empty:
        raise DataError(f"no usable image is left ({len(skipped)} were skipped)")
    _refuse_given_splits(table, options, folds)
    wanted = parts(options.seed, folds, options.repeats)
    told = _told(options, table, recipe, len(skipped))
    about["tables_sha256"] = hashes(tables)

    def default(part: Part) -> tuple[pd.DataFrame, Tree]:
        return divided(table, options.split == "image", options.fractions, folds, part), {}

    def write(folder: Path, part: Part) -> Dataset:
        rows, notes = (arrange or default)(part)
        rows = _only(rows, table)
        return _write(folder, rows, classes, {**told, **part.told(), **notes}, _lister(skipped), **about)

    datasets = write_parts(out, wanted, write)
    _say(datasets)
    return datasets[0]


def _refuse_given_splits(table: pd.DataFrame, options: RawOptions, folds: int | None) -> None:
    if "split" in table.columns and (folds is not None or options.repeats is not None):
        raise DataError("the images come with their splits: --folds and --repeats are for images without")


def _told(options: RawOptions, table: pd.DataFrame, recipe: Tree | None, skipped: int) -> Tree:
    """All options but the folder of the images, what the source adds, and what became of bad images."""
    given = {"splits": "as given"} if "split" in table.columns else {}
    told = options.model_dump(mode="json", exclude={"root"}, exclude_none=True)
    return {**told, **(recipe or {}), **given, "skipped": skipped}


def _only(rows: pd.DataFrame, usable: pd.DataFrame) -> pd.DataFrame:
    """The rows whose image is usable, with the file that was found for it."""
    files = dict(zip(usable["id"], usable["file"], strict=True))
    kept = cast("pd.DataFrame", rows[rows["id"].isin(usable["id"])])
    return kept.assign(file=kept["id"].map(files)).reset_index(drop=True)


def _lister(skipped: Skipped) -> Callable[[Path], None]:
    """Writes skipped.csv into a dataset folder, where anything was skipped."""
    bad = pd.DataFrame(skipped, columns=["file", "reason"])

    def fill(folder: Path) -> None:
        if skipped:
            guarded_table(bad).to_csv(folder / "skipped.csv", index=False, errors="backslashreplace")

    return fill
