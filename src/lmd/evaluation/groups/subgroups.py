"""Metadata columns as subgroups: their values, or bins of their numbers, each measured by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from lmd.data.dataset.checks import COLUMNS
from lmd.data.dataset.meaning.columns import level_of
from lmd.errors import DataError, SettingsError, suggest
from lmd.evaluation.evaluate import evaluate
from lmd.evaluation.groups.levels import Cell, ColumnResult
from lmd.text import listed, shortened

MOST = 30  # Cells of one column: more are no table that anybody reads.
FEW_GROUPS, FEW_OF_CLASS = 30, 10  # A cell, or a class in it, with fewer has a warning.
SMALL_CELLS = (
    f"a cell needs {FEW_GROUPS} images or groups to be compared; where it lacks a class, its means are over "
    "the others"
)
_EMPTY = frozenset(("", "na", "n/a", "nan", "none", "null", "<na>"))


@dataclass(frozen=True)
class By:
    """A column, and the width of the bins of its numbers."""

    column: str
    width: float | None = None


def parse_by(text: str, columns: Sequence[str]) -> By:
    """Returns what `--by sex` or `--by age:10` means in a table with these columns.

    >>> parse_by("sex", ["sex", "age"]), parse_by("age:10", ["sex", "age"])
    (By(column='sex', width=None), By(column='age', width=10.0))

    Raises:
        SettingsError: no such column, one that names images or people, or a width that is no positive number.
    """
    name, colon, number = text.rpartition(":")
    by = By(text) if text in columns or not colon else By(name, _width(text, number))
    metadata = [column for column in columns if column not in COLUMNS]
    if by.column in COLUMNS or level_of(by.column) is not None:
        raise SettingsError(
            f"--by {by.column}: this column names images, groups or people, or is measured already; take a "
            f"property such as sex or site{_of(metadata)}"
        )
    if by.column not in metadata:
        raise SettingsError(f"--by {by.column}: no such column{suggest(by.column, metadata)}{_of(metadata)}")
    return by


def _of(metadata: Sequence[str]) -> str:
    return f" (columns: {', '.join(metadata)})" if metadata else " (the data set has no metadata columns)"


def _width(text: str, number: str) -> float:
    try:
        width = float(number)
    except ValueError:
        width = math.nan
    if not (width > 0 and math.isfinite(width)):
        raise SettingsError(f"--by {text}: the width of the bins must be a positive number, as in age:10")
    return width


def cells_of(by: By, rows: pd.DataFrame) -> dict[str | None, np.ndarray]:
    """Returns which rows [N] are in each cell: in the order of the numbers or names, empty values last.

    Raises:
        DataError: a value to be binned is no number, or there are too many cells, or they may name people.
    """
    text = rows[by.column].astype(str).str.strip().reset_index(drop=True)
    empty = text.str.casefold().isin(_EMPTY).to_numpy()
    keys = _names(text) if by.width is None else _bins(by, by.width, text, rows["id"], empty)
    here = sorted({key for key, gone in zip(keys, empty, strict=True) if not gone})
    if len(here) > MOST:
        raise DataError(_too_many(by, text[~empty], len(here)))
    if by.width is None:
        _refuse_names(by, len(here), rows["group"].nunique())
    found: dict[str | None, np.ndarray] = {
        told: np.array([key == (place, told) for key in keys]) & ~empty for place, told in here
    }
    return found | ({None: empty} if empty.any() else {})


def _refuse_names(by: By, cells: int, groups: int) -> None:
    """Refuses values that may name people: they would stand in the run folder."""
    if cells > max(FEW_OF_CLASS, groups / 2):
        raise DataError(
            f"--by {by.column}: its {cells} values tell most of the {groups} images or groups apart, so that "
            "they may name people; take a property such as sex or site"
        )


_Key = tuple[float, str]


def _names(text: pd.Series) -> list[_Key]:
    return [(0.0, value) for value in text]


def _bins(by: By, width: float, text: pd.Series, ids: pd.Series, empty: np.ndarray) -> list[_Key]:
    """The bin of each number: from a multiple of the width to under the next."""
    numbers = pd.to_numeric(text.where(~empty, "0"), errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"--by {by.column}:{width:g}: image '{ids.iloc[row]}' has {by.column} = "
            f"'{shortened(text[row])}', which is no number; leave the width out, or mend the column and "
            "prepare the data set again"
        )
    starts = np.floor(numbers / width + 1e-9) * width
    return [(start, f"{start:g} to under {start + width:g}") for start in starts.tolist()]


def _too_many(by: By, text: pd.Series, number: int) -> str:
    wide = f"--by {by.column}" if by.width is None else f"--by {by.column}:{by.width:g}"
    numbers = pd.to_numeric(text, errors="coerce")
    if by.width is not None or numbers.notna().all():
        span = float(numbers.max() - numbers.min())
        way = f"take wider bins, such as --by {by.column}:{_round_up(span / 8):g}"
    else:
        way = "gather its values into fewer"
    return f"{wide}: {number} different values, and {MOST} are the most that can be compared; {way}"


def _round_up(number: float) -> float:
    """The next of 1, 2, 5, 10, 20 ... and of their tenths."""
    scale = 10.0 ** math.floor(math.log10(max(number, 1e-9)))
    return next(step * scale for step in (1, 2, 5, 10) if step * scale >= number * (1 - 1e-9))


def warning_of(counts: np.ndarray, everywhere: np.ndarray, groups: int, classes: Sequence[str]) -> str | None:
    """Returns why to distrust a cell with so many images of each class; `everywhere` are those of the split.

    SMALL_CELLS says, once for all cells, what follows from it.

    >>> warning_of(np.array([1, 0, 0]), np.array([90, 9, 4]), 1, ["NV", "MEL", "DF"])
    'only 1 image or group; none of MEL, DF; fewer than 10 images of NV'
    """
    parts: list[str] = []
    if groups < FEW_GROUPS:
        parts.append(f"only {groups} {'image or group' if groups == 1 else 'images or groups'}")
    if gone := [name for name, n, of in zip(classes, counts, everywhere, strict=True) if n == 0 < of]:
        parts.append(f"none of {listed(gone)}")
    if few := [name for name, n in zip(classes, counts, strict=True) if 0 < n < FEW_OF_CLASS]:
        parts.append(f"fewer than {FEW_OF_CLASS} images of {listed(few)}")
    return "; ".join(parts) or None


def subgroups_of(
    predictions: pd.DataFrame,
    rows: pd.DataFrame,
    by: Sequence[By],
    classes: list[str],
    bands: dict[str, list[str]],
    split: str,
) -> list[ColumnResult]:
    """Returns every metric in each cell of some metadata columns.

    `rows` are those of the manifest for the same images, in any order.

    Raises:
        DataError: a column cannot be made into cells.
    """
    ordered = rows.set_index("id").loc[predictions["id"]].reset_index()
    everywhere = _counts(predictions, classes)

    def cell(value: str | None, here: np.ndarray) -> Cell:
        some = cast("pd.DataFrame", predictions[here].reset_index(drop=True))
        found = evaluate(some, classes, bands, split)
        groups = int(some["group"].nunique())
        return Cell(
            value=value,
            n=found.n,
            groups=groups,
            metrics=found.metrics,
            classes=found.classes,
            reasons=found.reasons,
            warning=warning_of(_counts(some, classes), everywhere, groups, classes),
        )

    return [
        ColumnResult(
            column=one.column,
            width=one.width,
            cells=[cell(value, here) for value, here in cells_of(one, ordered).items()],
        )
        for one in by
    ]


def _counts(predictions: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    return np.array([(predictions["label"] == name).sum() for name in classes])
