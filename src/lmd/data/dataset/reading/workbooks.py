"""Tables of Excel and Parquet as texts, through the libraries that they need (the extra `tables`)."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path
from typing import Any

from lmd.data.dataset.reading.excel_sheets import excel_rows
from lmd.data.dataset.reading.parquet_files import parquet_rows
from lmd.data.dataset.reading.table_kinds import PARQUET, ZIP, read_file, refuse_other_kinds
from lmd.errors import DataError
from lmd.extras import how_to_install

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
    _refuse_others(path, kind)
    try:
        table = excel_rows(path, sheet) if kind == "Excel" else parquet_rows(path)
    except DataError:
        raise
    except ImportError:
        raise DataError(
            f"{path} is a file of {kind}, which needs more to be installed: {how_to_install('tables')}; or "
            "save it as CSV"
        ) from None
    except Exception as error:  # The readers raise many kinds for damaged files.
        raise DataError(f"{path} is no readable {kind} file ({type(error).__name__})") from error
    return [[text_of(value) for value in row] for row in table]


def _refuse_others(path: Path, kind: str) -> None:
    """Refuses a file that is named as a workbook and is another thing, such as a text."""
    raw = read_file(path)
    if not raw:
        raise DataError(f"{path} is empty")
    own, head = (
        (("an Excel file", "a ZIP archive"), ZIP) if kind == "Excel" else (("a Parquet file",), PARQUET)
    )
    refuse_other_kinds(path, raw, own)
    if not raw.startswith(head) and b"\0" not in raw[:4096]:
        raise DataError(f"{path} is no {kind} file but a text: name it with the ending .csv")


def text_of(value: Any) -> str:
    """Returns a cell as a CSV file has it: whole numbers without a point, nothing for an empty cell.

    >>> [text_of(value) for value in (2.0, None, float("nan"), ["a"], ["a", "b"], b"x")]
    ['2', '', '', 'a', 'a|b', 'x']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.tzinfo is None and value.time() == datetime.time():
        return str(value.date())
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return "|".join(map(text_of, value))
    return json.dumps(value, default=text_of) if isinstance(value, dict) else str(value)
