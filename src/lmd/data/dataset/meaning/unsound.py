"""Rows of a table that cannot be used: without a value, of an unknown file, or listed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pandas as pd

from lmd.data.dataset.meaning.locate import NOT_BELOW, ImageIndex
from lmd.data.dataset.meaning.spelling import shown
from lmd.data.dataset.usable import Skipped
from lmd.data.decode.files import printable
from lmd.errors import DataError
from lmd.text import numbered, them


class _Asked(Protocol):
    @property
    def table(self) -> Path: ...
    @property
    def skip_bad(self) -> bool: ...
    @property
    def drop_label(self) -> tuple[str, ...]: ...


def without_unsound_rows(
    table: pd.DataFrame, index: ImageIndex, options: _Asked
) -> tuple[pd.DataFrame, Skipped]:
    """Gives each row the file of its image and leaves out rows that cannot be used, each with its reason.

    Raises:
        DataError: there is such a row and `skip_bad` was not given, or a name leaves the root.
    """
    dropped = left_out(table, options)
    reasons = {**without_value(table), **dropped}
    table, lost = _placed(table, index, set(reasons), options.table)
    reasons |= lost
    reasons |= _repeats(table.drop(index=list(reasons)))
    if len(table) > 1 and sum(reason.startswith(NOT_BELOW) for reason in lost.values()) == len(table):
        name = printable(str(table["id"].iloc[0]))
        raise DataError(
            f"none of the {len(table)} images of {options.table} is below {index.root} (first: '{name}'): is "
            "--root the folder of the images?"
        )
    return without_rows(table, reasons, dropped, options, lambda row: f"row {row}")


def without_rows(
    table: pd.DataFrame,
    reasons: Mapping[int, str],
    dropped: Mapping[int, str],
    options: _Asked,
    place: Callable[[int], str],
) -> tuple[pd.DataFrame, Skipped]:
    """Leaves out rows, each with its reason and its `place`, such as "row 7".

    Raises:
        DataError: one of them was not `dropped` by the user, and `skip_bad` was not given.
    """
    faults = sorted(set(reasons) - set(dropped))
    if faults and not options.skip_bad:
        word = place(faults[0]).partition(" ")[0]
        raise DataError(
            f"{options.table} {reasons[faults[0]]} in {place(faults[0])} "
            f"({numbered(len(faults), f'such {word}')}; leave {them(len(faults))} out with --skip-bad)"
        )
    listed = [(str(table.at[row, "file"]), f"{reason} in {place(row)}") for row, reason in reasons.items()]
    return table.drop(index=list(reasons)).reset_index(drop=True), listed


def without_value(table: pd.DataFrame) -> dict[int, str]:
    """The rows that lack a value."""
    reasons: dict[int, str] = {}
    for column, word in (("split", "split"), ("label", "label"), ("id", "image")):
        if column in table.columns:
            reasons |= {row: f"has no {word}" for row, value in _rows(table[column]) if not shown(value)}
    return reasons


def _rows(values: pd.Series) -> Iterator[tuple[int, str]]:
    """The rows of a column, by their number in the file."""
    return zip(values.index.tolist(), values.tolist(), strict=True)


def left_out(table: pd.DataFrame, options: _Asked) -> dict[int, str]:
    """The rows whose label the user leaves out."""
    reasons: dict[int, str] = {}
    for word in options.drop_label:
        rows = table.index[table["label"] == word]
        if not len(rows):
            raise DataError(f"{options.table} has no label '{word}' to leave out with --drop-label")
        reasons |= dict.fromkeys(rows, f"has the label '{word}', left out by --drop-label,")
    return reasons


def _placed(
    table: pd.DataFrame, index: ImageIndex, bad: set[int], path: Path
) -> tuple[pd.DataFrame, dict[int, str]]:
    """The table with the file of each image, and the rows whose image is not found."""
    files: list[str] = []
    lost: dict[int, str] = {}
    places = index.places(table["file"].tolist())
    for (row, name), place in zip(_rows(table["file"]), places, strict=True):
        if place.leaves and row not in bad:
            raise DataError(f"{path} {place.reason} in row {row}")
        files.append(place.file or name)
        if place.reason and row not in bad:
            lost[row] = place.reason
    return table.assign(file=files), lost


def _repeats(table: pd.DataFrame) -> dict[int, str]:
    """The rows of images that are listed again; all of an image's rows where its labels contradict."""
    reasons: dict[int, str] = {}
    for file, rows in table[table["file"].duplicated(keep=False)].groupby("file", sort=False):
        if rows["label"].nunique() > 1:
            words = " and ".join(f"'{label}'" for label in rows["label"].unique())
            reasons |= dict.fromkeys(rows.index, f"gives image '{printable(str(file))}' the labels {words}")
        else:
            again = f"lists image '{printable(str(file))}' again (first: row {rows.index[0]})"
            reasons |= dict.fromkeys(rows.index[1:], again)
    return reasons
