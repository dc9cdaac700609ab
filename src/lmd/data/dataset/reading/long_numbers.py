"""Numbers of more than 15 digits: Excel and decimal numbers round them, so that two ids may become one."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmd.errors import DataError
from lmd.text import numbered

_log = logging.getLogger(__name__)

_DIGITS = 15  # That a float of 64 bits keeps for certain.
_KEPT = (15, 16)  # Digits of a number that Excel keeps, and that openpyxl and pandas write.


def check_long_numbers(path: Path, name: str, values: Sequence[Any]) -> None:
    """Refuses a column of long numbers that all end in zeros; tells of one that may have lost digits.

    Raises:
        DataError: several numbers have more digits than Excel keeps, and all have zeros in their place.
    """
    long = [str(int(abs(value))) for value in values if _is_long(value)]
    if not long:
        return
    way = "write them as text (in Excel: format the cells as text first), or delete the column"
    if len(long) > 1 and any(all(set(digits[kept:]) == {"0"} for digits in long) for kept in _KEPT):
        raise DataError(
            f"{path}: {len(long)} numbers in the column '{name}' have lost their digits: they have more than "
            f"{_DIGITS}, and all end in zeros ('{long[0]}'), as Excel and pandas write them; {way}"
        )
    _log.warning(
        "%s: %s in the column '%s' %s more than %d digits and may have lost some; %s",
        path, numbered(len(long), "number"), name, "has" if len(long) == 1 else "have", _DIGITS, way,
    )  # fmt: skip


def _is_long(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return abs(value) >= 10**_DIGITS and value == int(value)
