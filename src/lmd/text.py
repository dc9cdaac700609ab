"""Plain text for the terminal and for Markdown: rows of words in columns, names that do nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def listed(names: Sequence[str], shown: int = 5) -> str:
    """Returns the first names, and how many more there are.

    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def numbered(count: int, one: str, many: str = "") -> str:
    """Returns a number with its noun in the right form; `many` is needed where an "s" does not make it.

    >>> numbered(1, "such image"), numbered(2, "such image"), numbered(0, "class", "classes")
    ('1 such image', '2 such images', '0 classes')
    """
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def them(count: int) -> str:
    """Returns the word that stands for so many things.

    >>> them(1), them(2)
    ('it', 'them')
    """
    return "it" if count == 1 else "them"


FEW = 10  # Images below which a number says little.
FEW_NOTE = f"* fewer than {FEW} images: a number of them says little"


def few_note(lines: Iterable[str]) -> list[str]:
    """Returns what the mark of `image_count` means, if a line has one.

    >>> few_note(["tail recall  9 *"]) == [FEW_NOTE], few_note(["tail recall  10", "* 5"])
    (True, [])
    """
    return [FEW_NOTE] if any(re.search(r"\d \*", line) for line in lines) else []


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


# Control characters, which a terminal obeys, and marks that turn the direction of text; line ends stay.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# What Markdown takes for markup inside a line; "_" in the middle of a word is none.
_MARKUP = re.compile(r"[\\`*\[\]|~$]|^#|(?<!\w)_|_(?!\w)")


def visible(text: str) -> str:
    r"""Returns a text that a terminal shows and does not obey, such as the name of a file.

    >>> print(visible("a\x1b[31mb"))
    a\x1b[31mb
    """
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def markdown(text: str) -> str:
    r"""Returns a name on one line that is no markup in Markdown, nor HTML in it, and cannot end a cell.

    >>> print(markdown("a|b <i>\n[x](y)"))
    a\|b &lt;i&gt; \[x\](y)
    """
    plain = visible(" ".join(text.split()))
    for sign, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        plain = plain.replace(sign, name)
    return _MARKUP.sub(r"\\\g<0>", plain)
