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
from lmd.data.dataset.table_kinds import refuse_no_header, refuse_other_kinds, refuse_other_texts
from lmd.data.dataset.workbooks import is_workbook, workbook_records
from lmd.errors import DataError, suggest

DELIMITERS = ",;\t|"
_WAY_OUT = "; fields with a delimiter in them need quotes, and --delimiter names another one"
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
        records = _records(path, _text(path, encoding), delimiter)
    first = next((number for number, record in enumerate(records) if any(record)), None)
    if first is None:
        raise DataError(f"{path} is empty")
    header = [name.strip() for name in records[first]]
    _refuse_doubles(path, header)
    rows = _rows(path, header, records, first)
    if not rows:
        raise DataError(f"{path} has no rows below its header")
    refuse_no_header(path, header)
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
    refuse_other_kinds(path, raw)
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
        raise DataError(
            f"{path} is not a table: it holds binary data; UTF-16 without its mark needs --encoding utf-16-le"
        )
    refuse_other_texts(path, text)
    return text


def _records(path: Path, text: str, delimiter: str | None) -> list[list[str]]:
    """The rows by the delimiter that fits them all; where none does, by the one that fits the header best."""
    if delimiter is not None:
        return _parted(path, text, _named_delimiter(delimiter))
    parted: dict[str, list[list[str]]] = {}
    faults: list[DataError] = []
    for mark in DELIMITERS:
        try:
            parted[mark] = _parted(path, text, mark)
        except DataError as error:
            faults.append(error)
    if not parted:
        raise faults[0]
    fitting = [records for records in parted.values() if _is_even(records)]
    return max(fitting or list(parted.values()), key=lambda records: len(next(filter(any, records), [])))


def _named_delimiter(word: str) -> str:
    mark = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|", "space": " "}.get(
        word.lower(), word
    )
    if len(mark) != 1 or mark in '"\r\n':
        raise DataError(f"--delimiter '{word}' must be one character, or tab, comma, semicolon, bar or space")
    return mark


def _parted(path: Path, text: str, delimiter: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return list(reader)
    except csv.Error as error:
        raise DataError(f"{path} is not a table: {error} (line {reader.line_num})") from error


def _is_even(records: list[list[str]]) -> bool:
    """Whether every row has as many fields as the header, and that are several."""
    lengths = {len(record) for record in records if any(field.strip() for field in record)}
    return len(lengths) == 1 and lengths != {1}


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
            comment = "; it looks like a comment: delete it" if record[0].lstrip().startswith("#") else ""
            raise DataError(
                f"{path} has {len(record)} fields in row {number}, its header has "
                f"{width}{comment or _WAY_OUT}"
            )
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
