"""A text as rows of fields, by the delimiter that fits every row, or the one that tells most of a fault."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from lmd.errors import DataError

DELIMITERS = ",;\t|"
_NAMES = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|", "space": " "}


@dataclass
class _Parted:
    """The rows by one delimiter, as far as they could be read, and the fault that ended them."""

    records: list[list[str]]
    fault: str = ""

    @property
    def width(self) -> int:
        """How many fields the first row has that is not blank."""
        return len(next(filter(any, self.records), []))

    @property
    def is_even(self) -> bool:
        """Whether every row has as many fields as the header, and that are several."""
        lengths = {len(record) for record in self.records if any(field.strip() for field in record)}
        return not self.fault and len(lengths) == 1 and lengths != {1}


def records_of(path: Path, text: str, delimiter: str | None) -> list[list[str]]:
    """Returns the rows by the delimiter that fits them all; where none does, by the one that tells most.

    Raises:
        DataError: a quote is at fault, or the delimiter that is named is none.
    """
    marks = DELIMITERS if delimiter is None else _named(delimiter)
    parted = [_parted(text, mark) for mark in marks]
    fitting = [found for found in parted if found.is_even]
    if not fitting and '"' in text:  # Blanks may stand between a delimiter and a quote.
        fitting = [
            found for mark in marks if (found := _parted(text, mark, blanks=mark not in " \t")).is_even
        ]
    # Of two that tell as much, the one without a fault.
    best = max(fitting or parted, key=lambda found: (_most_fields(found), found.width, not found.fault))
    if best.fault:
        raise DataError(f"{path} {best.fault}")
    return best.records


def _most_fields(found: _Parted) -> int:
    """The fields that the header and most rows have; where a title stands above the header, two."""
    lengths = [len(record) for record in found.records[:200] if any(field.strip() for field in record)]
    most = max(lengths, key=lengths.count) if lengths else 0
    return min(found.width if found.width > 1 else 2, most)


def _named(word: str) -> str:
    mark = _NAMES.get(word.lower(), word)
    if len(mark) != 1 or mark in '"\r\n':
        raise DataError(f"--delimiter '{word}' must be one character, or tab, comma, semicolon, bar or space")
    return mark


def _parted(text: str, delimiter: str, blanks: bool = False) -> _Parted:
    if delimiter == " ":  # A table may be set in columns: any number of blanks is one delimiter.
        text = re.sub(r"(?m)^ | (?=[\r\n]|$)", "", re.sub(" +", " ", text))
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=blanks, strict=True
    )
    records: list[list[str]] = []
    try:
        for record in reader:
            records.append(record)
    except csv.Error as error:
        return _Parted(records or [text.split("\n", 1)[0].split(delimiter)], _fault(error, len(records) + 1))
    return _Parted(records)


def _fault(error: csv.Error, row: int) -> str:
    told = str(error)
    if "expected after" in told:
        return f'has a quote inside of a quoted field in row {row}: write each quote in it twice ("")'
    if "unexpected end" in told:
        return f'is not a table: a quote in row {row} is not closed: close it, or write it twice ("")'
    if "field limit" in told:
        return f"has a field of more than {csv.field_size_limit()} characters in row {row}: is a quote open?"
    return f"is not a table: {told} (row {row})"
