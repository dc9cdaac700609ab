"""Tables as users have them: any usual delimiter, Unicode with or without a byte order mark, texts only."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.reading.delimiters import records_of
from lmd.data.dataset.reading.table_headers import (
    refuse_doubles,
    refuse_no_header,
    refuse_one_column,
    refuse_second_header,
    refuse_title,
    uneven,
)
from lmd.data.dataset.reading.table_kinds import read_file, refuse_other_kinds
from lmd.data.dataset.reading.table_texts import refuse_other_texts
from lmd.data.dataset.reading.workbooks import is_workbook, workbook_records
from lmd.errors import DataError, suggest

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
PUBLISHED = {"train": "training.csv", "val": "validation.csv", "test": "testing.csv"}


def read_table(
    path: Path,
    columns: Sequence[str] = (),
    encoding: str | None = None,
    delimiter: str | None = None,
    sheet: str = "",
) -> pd.DataFrame:
    """Returns a table of texts whose index is the row in a spreadsheet: the header is row 1.

    Blank rows and columns without a name are left out. Nothing is guessed about values: "NA" and "007" stay
    what they are. The delimiter is the one with which every row has as many fields as the header.

    Raises:
        DataError: the file is missing, no Unicode text, no table, empty, or lacks one of `columns`.
    """
    if is_workbook(path):
        records = workbook_records(path, sheet)
    else:
        records = records_of(path, _text(path, encoding), delimiter)
    first = next((number for number, record in enumerate(records) if any(map(str.strip, record))), None)
    if first is None:
        raise DataError(f"{path} is empty")
    header = [" ".join(name.split()) for name in records[first]]
    rows = _rows(path, header, records, first)
    for name in columns:
        if name not in header:
            raise DataError(f"{path} lacks the column '{name}'{suggest(name, filter(None, header))}")
    table = pd.DataFrame(list(rows.values()), columns=header, index=list(rows), dtype=str)
    return table[[name for name in header if name]]


def _text(path: Path, encoding: str | None) -> str:
    raw = read_file(path)
    refuse_other_kinds(path, raw)
    text = _decoded(path, raw, encoding).replace("\ufeff", "")  # Also where marked files were put together.
    text = text.removesuffix("\x1a") if text.endswith("\x1a") else text.rstrip("\r\n").removesuffix("\x1a")
    if "\0" in text:
        raise DataError(
            f"{path} is not a table: it holds binary data; UTF-16 without its mark needs --encoding utf-16-le"
        )
    refuse_other_texts(path, text)
    return text


def _decoded(path: Path, raw: bytes, encoding: str | None) -> str:
    """The text of a file. A byte order mark tells its encoding for certain; else it is as named, or UTF-8."""
    mark, marked = next(((mark, name) for mark, name in _MARKS if raw.startswith(mark)), (b"", None))
    body = raw[len(mark) :]
    if marked is not None and encoding is not None:
        try:
            return body.decode(marked)
        except UnicodeError:
            pass  # A mark that does not fit what follows it.
    try:
        return body.decode(encoding or marked or "utf-8")
    except UnicodeError as error:
        row = body[: getattr(error, "start", 0)].count(b"\n") + 1
        raise DataError(
            f"{path} is not {encoding or 'UTF-8'} text (row {row}): save it as UTF-8, or name its --encoding "
            "to 'lmd prepare table'"
        ) from error
    except (LookupError, ValueError) as error:
        raise DataError(f"unknown encoding {encoding!r}; usual are utf-8, utf-16, cp1252, latin-1") from error


def _rows(path: Path, header: list[str], records: list[list[str]], first: int) -> dict[int, list[str]]:
    """The rows below the header by their number, blank ones left out."""
    refuse_title(path, records, first)
    refuse_one_column(path, header, records, is_workbook(path))
    refuse_doubles(path, header)
    below = enumerate(records[first + 1 :], start=first + 2)
    filled = {number: record for number, record in below if any(field.strip() for field in record)}
    if not filled:
        raise DataError(f"{path} has no rows below its header")
    refuse_no_header(path, header, list(filled.values()))
    rows = _even(path, header, filled)
    refuse_second_header(path, header, rows)
    return rows


def _even(path: Path, header: list[str], filled: dict[int, list[str]]) -> dict[int, list[str]]:
    """The rows with as many fields as the header; fields beyond it must be blank."""
    width = len(header)
    for number, record in filled.items():
        if len(record) < width or any(map(str.strip, record[width:])):
            alike = len(filled) > 1 and {len(other) for other in filled.values()} == {len(record)}
            raise uneven(path, number, record, header, alike)
    return {number: record[:width] for number, record in filled.items()}


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
