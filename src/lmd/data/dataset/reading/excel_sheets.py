"""A sheet of Excel as rows of values: merged cells filled, and what is hidden or lost is said aloud."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmd.data.dataset.reading.excel_marks import (
    Area,
    hidden_columns,
    hidden_rows,
    merged_areas,
    without_values,
)
from lmd.data.dataset.reading.long_numbers import check_long_numbers
from lmd.data.dataset.reading.table_kinds import MOST_BYTES, MOST_CELLS, too_large
from lmd.errors import DataError
from lmd.text import listed, numbered

_log = logging.getLogger(__name__)

_Grid = dict[tuple[int, int], Any]  # The filled cells by row and column, from 1 on.


@dataclass
class _Sheet:
    """A sheet of openpyxl with its filled cells."""

    title: str
    is_shown: bool
    xml: bytes
    grid: _Grid = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    @property
    def header_row(self) -> int:
        return min(row for row, _ in self.grid)

    def name(self, column: int) -> str:
        """What the header says of a column, or its letter."""
        from openpyxl.utils import get_column_letter

        return str(self.grid.get((self.header_row, column), get_column_letter(column)))


def excel_rows(path: Path, wanted: str = "") -> list[list[Any]]:
    """Returns the rows of a sheet from its first row and column on, None for an empty cell.

    Raises:
        DataError: the sheet is not told, cells of the header are merged with rows below it, formulas have no
            stored values, or numbers have lost digits.
    """
    sheet = _chosen(path, list(_sheets(path)), wanted)
    if sheet is None:
        return []
    _refuse_no_values(path, sheet)
    _fill_merged(path, sheet)
    _tell(path, sheet)
    height, width = max(row for row, _ in sheet.grid), max(column for _, column in sheet.grid)
    _check_numbers(path, sheet)
    if height * width > MOST_CELLS:
        raise too_large(path, f"{height:,} rows and {width:,} columns")
    rows = [[None] * width for _ in range(height)]
    for (row, column), value in sheet.grid.items():
        rows[row - 1][column - 1] = value
    return rows


def _sheets(path: Path) -> Iterator[_Sheet]:
    """The sheets with their filled cells."""
    from openpyxl.reader.excel import ExcelReader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # About styles and extensions, not about cells.
        reader = ExcelReader(path, read_only=True, data_only=True)
        reader.read()
        parts = {sheet.name: link.target for sheet, link in reader.parser.find_sheets()}
        if sum(part.file_size for part in reader.archive.infolist()) > MOST_BYTES:
            raise too_large(path, f"parts that unpack to more than {MOST_BYTES:,} bytes")
        for sheet in reader.wb.worksheets:
            xml = reader.archive.read(parts[sheet.title])
            found = _Sheet(sheet.title, sheet.sheet_state == "visible", xml)
            sheet.reset_dimensions()  # What the file says of its size may be wrong.
            _read_cells(path, found, sheet)
            yield found
        reader.wb.close()


def _read_cells(path: Path, found: _Sheet, sheet: Any) -> None:
    seen = 0
    for row, cells in enumerate(sheet.iter_rows(), start=1):
        seen += len(cells) + 1
        if seen > MOST_CELLS:  # Two cells may stand a billion apart.
            raise too_large(path, f"a sheet of more than {MOST_CELLS:,} cells, blank ones counted")
        for column, cell in enumerate(cells, start=1):
            if cell.value is None or cell.value == "":
                continue
            if cell.data_type == "e":
                found.errors.append(f"{cell.value} in {cell.coordinate}")
            else:
                found.grid[row, column] = cell.value


def _chosen(path: Path, sheets: list[_Sheet], wanted: str) -> _Sheet | None:
    """The sheet of that name, or the only one that is filled; hidden ones count where all are hidden."""
    names = [found.title for found in sheets]
    if wanted and wanted not in names:
        raise DataError(f"{path} has no sheet '{wanted}' (sheets: {', '.join(names)})")
    filled = [found for found in sheets if found.grid]
    shown = [found for found in filled if found.is_shown]
    if wanted:
        return next((found for found in filled if found.title == wanted), None)
    if len(shown or filled) > 1:
        names = [found.title for found in shown or filled]
        raise DataError(f"{path} has several sheets ({', '.join(names)}); name one with --sheet")
    return next(iter(shown or filled), None)


def _refuse_no_values(path: Path, sheet: _Sheet) -> None:
    cells = without_values(sheet.xml)
    if cells:
        row, column = cells[0]
        name = sheet.name(column) if sheet.grid else f"of row {row}"
        raise DataError(
            f"{path}: the column '{name}' has formulas without stored values (row {row}, {len(cells)} "
            "cells): open the file in Excel and save it, or export it as CSV"
        )


def _fill_merged(path: Path, found: _Sheet) -> None:
    """Gives each cell of a merged range its value, but for a title that stands alone in its row."""
    filled = Counter(row for row, _ in found.grid)
    header = found.header_row
    areas = [area for area in merged_areas(found.xml) if (area.min_row, area.min_col) in found.grid]
    areas = [area for area in areas if filled[area.min_row] > 1 or area.max_col == area.min_col]
    for area in areas:
        if area.min_row == header < area.max_row and filled[header] > 1:
            raise DataError(
                f"{path}: its header is merged with rows below it (cells {area.coord}): write the names of "
                "the columns into one row, and undo the merging"
            )
        _fill(found.grid, area)
    if areas:
        _log.warning("%s: %d merged ranges of cells: each cell of them has their value", path, len(areas))


def _fill(grid: _Grid, area: Area) -> None:
    """Fills a range as far as the sheet has rows and columns."""
    last, right = max(row for row, _ in grid), max(column for _, column in grid)
    value = grid[area.min_row, area.min_col]
    for row in range(area.min_row, min(area.max_row, last) + 1):
        for column in range(area.min_col, min(area.max_col, right) + 1):
            grid[row, column] = value


def _tell(path: Path, found: _Sheet) -> None:
    """Says aloud what a reader of the sheet does not see, and is used all the same."""
    hidden = {row for row, _ in found.grid} & hidden_rows(found.xml)
    if hidden:
        _log.warning(
            "%s: %s of '%s' %s hidden in Excel and used all the same (the first is row %d)",
            path, numbered(len(hidden), "row"), found.title, "is" if len(hidden) == 1 else "are", min(hidden),
        )  # fmt: skip
    ranges = hidden_columns(found.xml)
    filled = {column for _, column in found.grid}
    columns = [column for column in sorted(filled) if any(column in each for each in ranges)]
    if columns:
        names = listed([found.name(column) for column in columns])
        _log.warning(
            "%s: columns of '%s' are hidden in Excel and used all the same: %s", path, found.title, names
        )
    if found.errors:
        _log.warning(
            "%s: %s an error of Excel in '%s', taken as empty: %s",
            path, numbered(len(found.errors), "cell holds", "cells hold"), found.title, listed(found.errors),
        )  # fmt: skip


def _check_numbers(path: Path, found: _Sheet) -> None:
    columns: dict[int, list[Any]] = {}
    for (_, column), value in found.grid.items():
        if isinstance(value, int | float):
            columns.setdefault(column, []).append(value)
    for column, values in columns.items():
        check_long_numbers(path, found.name(column), values)
