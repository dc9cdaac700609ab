"""Tables as users have them: any usual delimiter, Unicode with or without a byte order mark, texts only."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from lmd.data.dataset.checks import SPLITS
from lmd.errors import DataError, suggest

DELIMITERS = ",;\t|"
PUBLISHED = {"train": "training.csv", "val": "validation.csv", "test": "testing.csv"}


def read_table(path: Path, columns: Sequence[str] = (), encoding: str | None = None) -> pd.DataFrame:
    """Returns a table of texts whose index is the row in a spreadsheet: the header is row 1.

    Blank rows and columns without a name are left out. Nothing is guessed about values: "NA" and "007" stay
    what they are.

    Raises:
        DataError: the file is missing, no Unicode text, no table, empty, or lacks one of `columns`.
    """
    records = _records(path, _text(path, encoding))
    first = next((number for number, record in enumerate(records) if any(record)), None)
    if first is None:
        raise DataError(f"{path} is empty")
    header = [name.strip() for name in records[first]]
    _refuse_doubles(path, header)
    rows = _rows(path, header, records, first)
    if not rows:
        raise DataError(f"{path} has no rows below its header")
    for name in columns:
        if name not in header:
            raise DataError(f"{path} lacks the column '{name}'{suggest(name, filter(None, header))}")
    table = pd.DataFrame(list(rows.values()), columns=header, index=list(rows), dtype=str)
    return table[[name for name in header if name]]


def _text(path: Path, encoding: str | None) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    marked = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = raw.decode(encoding or ("utf-16" if marked else "utf-8-sig"))
    except LookupError as error:
        raise DataError(f"unknown encoding '{encoding}'; usual are utf-8, utf-16, cp1252, latin-1") from error
    except UnicodeError as error:
        row = raw[: getattr(error, "start", 0)].count(b"\n") + 1
        raise DataError(
            f"{path} is not {encoding or 'UTF-8'} text (row {row}): save it as UTF-8, or name its --encoding "
            "to 'lmd prepare table'"
        ) from error
    if "\0" in text:
        raise DataError(f"{path} is not a table: it holds binary data")
    return text


def _records(path: Path, text: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        return list(reader)
    except csv.Error as error:
        raise DataError(f"{path} is not a table: {error} (line {reader.line_num})") from error


def _delimiter(text: str) -> str:
    """The delimiter that cuts the first line into most fields; a comma where none does."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    return max(DELIMITERS, key=lambda delimiter: len(next(csv.reader([line], delimiter=delimiter), [])))


def _refuse_doubles(path: Path, header: list[str]) -> None:
    name, count = Counter(filter(None, header)).most_common(1)[0] if any(header) else ("", 0)
    if count > 1:
        raise DataError(f"{path} has {count} columns named '{name}'; rename or delete all but one")


def _rows(path: Path, header: list[str], records: list[list[str]], first: int) -> dict[int, list[str]]:
    """The rows below the header by their number; fields beyond the header must be blank."""
    width = len(header)
    rows: dict[int, list[str]] = {}
    for number, record in enumerate(records[first + 1 :], start=first + 2):
        if not any(field.strip() for field in record):
            continue
        if len(record) < width or any(record[width:]):
            raise DataError(f"{path} has {len(record)} fields in row {number}, its header has {width}")
        rows[number] = record[:width]
    return rows


def read_published(folder: Path, columns: Sequence[str]) -> tuple[pd.DataFrame, list[Path]]:
    """Returns the rows of an author's training.csv, validation.csv and testing.csv with their split.

    Raises:
        DataError: one of the three is missing or is not such a table.
    """
    paths = [folder / PUBLISHED[split] for split in SPLITS]
    tables = [read_table(path, columns) for path in paths]
    rows = [table[list(columns)].assign(split=split) for split, table in zip(SPLITS, tables, strict=True)]
    return pd.concat(rows, ignore_index=True), paths


def hashes(paths: Iterable[Path]) -> dict[str, str]:
    """Returns the sha256 of each file by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def labels_of_marks(path: Path, ids: pd.Series, marks: pd.DataFrame) -> pd.Series:
    """Returns the one column that is marked with 1 in each row.

    Raises:
        DataError: a row has another number of marks than one, or something that is no mark.
    """
    numbers = marks.apply(pd.to_numeric, errors="coerce")
    wrong = ~numbers.isin([0, 1]).all(axis=1) | (numbers.sum(axis=1) != 1)
    if bool(wrong.any()):
        raise DataError(f"{path} does not give image {ids[wrong].iloc[0]} one class")
    return numbers.idxmax(axis=1)
