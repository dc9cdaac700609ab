"""Plain text for the terminal: rows of words in columns."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[str], shown: int = 5) -> str:
    """Returns the first names, and how many more there are.

    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


FEW = 10  # Images below which a number says little.
FEW_NOTE = f"* fewer than {FEW} images: a number of them says little"


def image_count(number: int) -> str:
    """Returns a number of test images, marked where it is small; FEW_NOTE says what the mark means.

    >>> image_count(9), image_count(10), image_count(0)
    ('9 *', '10', '0')
    """
    return f"{number} *" if 0 < number < FEW else str(number)


def in_columns(rows: Sequence[Sequence[str]], *, numbers: bool = False) -> list[str]:
    """Returns one line for each row, its words set in columns two blanks apart.

    With `numbers` all columns but the first end at the right, so that the digits stand below each other.

    >>> in_columns([["", "AUC"], ["CE", "9"]])
    ['    AUC', 'CE  9']
    >>> in_columns([["", "AUC"], ["CE", "9"]], numbers=True)
    ['    AUC', 'CE    9']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    to_side = str.rjust if numbers else str.ljust
    return ["  ".join([row[0].ljust(widths[0]), *map(to_side, row[1:], widths[1:])]).rstrip() for row in rows]


def shortened(text: str, most: int = 60) -> str:
    r"""Returns a text on one line, cut where it is long.

    >>> shortened("a\n  long text", 6)
    'a long...'
    """
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}..."


def duration(seconds: float) -> str:
    """Returns a time in the two words that fit it.

    >>> [duration(seconds) for seconds in (4.2, 80, 59 * 60, 5400, 26.4 * 3600, 5 * 86400)]
    ['4 s', '80 s', '59 min', '1.5 h', '26 h', '120 h']
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60 - 1:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"
