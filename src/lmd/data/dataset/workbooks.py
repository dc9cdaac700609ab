"""Tables of Excel and Parquet, through pandas and the libraries that it needs (the extra `tables`)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from lmd.errors import DataError, how_to_install

_KINDS = {".xlsx": "Excel", ".xlsm": "Excel", ".parquet": "Parquet", ".pq": "Parquet"}


def is_workbook(path: Path) -> bool:
    """Whether a file is named as one of Excel or Parquet."""
    return path.suffix.lower() in _KINDS


def workbook_records(path: Path, sheet: str = "") -> list[list[str]]:
    """Returns the rows of an Excel sheet or a Parquet file as texts, the header first; an empty cell is "".

    Raises:
        DataError: the file is missing or damaged, has several sheets and none is named, or a library lacks.
    """
    kind = _KINDS[path.suffix.lower()]
    if not path.is_file():
        raise DataError(f"cannot read {path}: no such file")
    try:
        table = _excel(path, sheet) if kind == "Excel" else _parquet(path)
    except DataError:
        raise
    except ImportError as error:
        raise DataError(
            f"{path} is a file of {kind}, which needs more to be installed: {how_to_install('tables')}; or "
            "save it as CSV"
        ) from error
    except Exception as error:  # The readers raise many kinds for damaged files.
        raise DataError(f"{path} is no readable {kind} file ({type(error).__name__})") from error
    return [[_text(value) for value in row] for row in table]


def _excel(path: Path, sheet: str) -> list[list[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # About styles and extensions, not about cells.
        sheets = pd.read_excel(
            path, sheet_name=None, header=None, dtype=object, na_filter=False, engine="openpyxl"
        )
    filled = {str(name): table for name, table in sheets.items() if table.size}
    if sheet and sheet not in sheets:
        raise DataError(f"{path} has no sheet '{sheet}' (sheets: {', '.join(map(str, sheets))})")
    if not sheet and len(filled) > 1:
        raise DataError(f"{path} has several sheets ({', '.join(filled)}); name one with --sheet")
    table = sheets[sheet] if sheet else next(iter(filled.values()), pd.DataFrame())
    return table.to_numpy().tolist()


def _parquet(path: Path) -> list[list[Any]]:
    table = pd.read_parquet(path)
    if table.index.name:
        table = table.reset_index()
    return [list(table.columns), *table.astype(object).to_numpy().tolist()]


def _text(value: Any) -> str:
    """A cell as a CSV file has it: whole numbers without a point, nothing for an empty cell."""
    if value is None or value is pd.NaT or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)
