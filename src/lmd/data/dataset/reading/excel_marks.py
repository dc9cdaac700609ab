"""What stands beside the values of an Excel sheet: merged and hidden cells, formulas without values.

The reader that goes without pictures and charts, which may be damaged, does not tell of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_NAME = rb"(?:\w+:)?"
# A formula without a stored value, and without the type "str", whose stored value may be an empty text.
_NO_VALUE = re.compile(
    rb"<%(n)sc\s([^>]*)>\s*<%(n)sf(?:\s[^>]*)?(?:/>|>[^<]*</%(n)sf>)\s*"
    rb"(?:<%(n)sv\s*/>|<%(n)sv>\s*</%(n)sv>)?\s*</%(n)sc>" % {b"n": _NAME}
)
_ROW = re.compile(rb"<%srow\s([^>]*)>" % _NAME)
_COLUMN = re.compile(rb"<%scol\s([^>]*)>" % _NAME)
_MERGED = re.compile(rb"<%smergeCell\s([^>]*)>" % _NAME)
_HIDDEN = re.compile(r'\bhidden="(?:1|true)"')


@dataclass(frozen=True)
class Area:
    """A merged range of cells, its rows and columns from 1 on."""

    min_row: int
    max_row: int
    min_col: int
    max_col: int
    coord: str


def merged_areas(xml: bytes) -> list[Area]:
    """Returns the merged ranges of a sheet."""
    from openpyxl.utils.cell import coordinate_to_tuple

    found = []
    for attributes in _attributes(_MERGED, xml):
        coord = _value(attributes, "ref")
        (top, left), (bottom, right) = map(coordinate_to_tuple, coord.split(":"))
        found.append(Area(top, bottom, left, right, coord))
    return found


def hidden_rows(xml: bytes) -> set[int]:
    """Returns the numbers of the rows that are hidden."""
    return {int(_value(row, "r")) for row in _attributes(_ROW, xml) if _HIDDEN.search(row)}


def hidden_columns(xml: bytes) -> list[range]:
    """Returns the numbers of the columns that are hidden."""
    hidden = (column for column in _attributes(_COLUMN, xml) if _HIDDEN.search(column))
    return [range(int(_value(column, "min")), int(_value(column, "max")) + 1) for column in hidden]


def without_values(xml: bytes) -> list[tuple[int, int]]:
    """Returns row and column of the cells with a formula and no stored value."""
    from openpyxl.utils.cell import coordinate_to_tuple

    cells = (cell for cell in _attributes(_NO_VALUE, xml) if _value(cell, "t") != "str")
    return [coordinate_to_tuple(_value(cell, "r")) for cell in cells]


def _attributes(pattern: re.Pattern[bytes], xml: bytes) -> Iterator[str]:
    return (match[1].decode() for match in pattern.finditer(xml))


def _value(attributes: str, name: str) -> str:
    found = re.search(rf'(?:^|\s){name}="([^"]*)"', attributes)
    return found[1] if found else ""
