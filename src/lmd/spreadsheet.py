"""Cells of CSV files that a spreadsheet may open: no text in them is taken for a formula.

A text that begins like a formula gets a single quote before it. So does a text that already looks guarded, so
that reading takes back exactly what was written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# What begins a formula, also after quotes of our own; full-width signs count in some languages' versions.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def guarded(value: Any) -> Any:
    r"""Returns a value as a cell; numbers stay numbers, also where they are texts.

    >>> [guarded(value) for value in ("=1+1", "-0.5", -0.5, "melanoma", "'=x")]
    ["'=1+1", '-0.5', -0.5, 'melanoma', "''=x"]
    """
    formula = isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value)
    return f"'{value}" if formula else value


def unguarded(value: Any) -> Any:
    """Returns the value that `guarded` was given.

    >>> unguarded("'=1+1"), unguarded("''=x"), unguarded("'n Beetje")
    ('=1+1', "'=x", "'n Beetje")
    """
    is_guarded = isinstance(value, str) and value.startswith("'") and _FORMULA.match(value[1:])
    return value[1:] if is_guarded else value


def guarded_table(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table to be written, its names of columns guarded, too."""
    return table.map(guarded).rename(columns=guarded)


def unguarded_table(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the table that `guarded_table` was given, from what was read."""
    return table.map(unguarded).rename(columns=unguarded)
