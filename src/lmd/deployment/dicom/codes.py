"""The coded words of a report: the standard's, our own (99LMD), and those that a file gives for classes.

A designator that begins with 99 is private by the standard. A class has its name as its code where the name
fits into a code, and else a short hash of it; the name is the meaning.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lmd.data.dataset.reading.tables import read_table
from lmd.errors import DataError, suggest
from lmd.text import shortened

SCHEME = "99LMD"
SCHEME_NAME = "lmd: names of classes and of a classifier's outputs"
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,16}")
_MOST = {"code": 16, "scheme": 16, "meaning": 64}  # Characters that the standard allows (SH, SH, LO).
SNOMED = "SCT"


class Word(NamedTuple):
    """A coded word: its value, the scheme that it is from, and its meaning."""

    value: str
    scheme: str
    meaning: str


PROBABILITY = Word("probability", SCHEME, "Probability of a class, for ranking")
DECISION = Word("decision-score", SCHEME, "Probability of a class, shifted for the decision")
CLASS = Word("class", SCHEME, "Class that the number is of")
DECIDED = Word("decision", SCHEME, "Class that the model decides for")
SET = Word("prediction-set", SCHEME, "Class in the prediction set")
UNLIKE = Word("unlike", SCHEME, "Share of validation images that are less unlike what was seen")
USE = Word("use", SCHEME, "Intended use")
RESEARCH = Word("research", SCHEME, "Research use only, not for diagnosis")
STATEMENT = "Research use only. Not a medical device. Made by a program and not read by a person."
SHORT_STATEMENT = "Research use only. Made by a program, read by no person."


def class_word(name: str) -> Word:
    """Returns the word of a class in our own scheme.

    >>> class_word("melanoma")
    Word(value='melanoma', scheme='99LMD', meaning='melanoma')
    >>> class_word("squamous cell carcinoma").value
    'C-c4d7507321bd'
    """
    plain = " ".join(name.replace("\\", "/").split())
    if _PLAIN.fullmatch(name):
        return Word(name, SCHEME, name)
    return Word(f"C-{hashlib.sha256(name.encode()).hexdigest()[:12]}", SCHEME, plain[: _MOST["meaning"]])


def class_words(classes: Sequence[str], codes: Path | str | None = None) -> dict[str, Word]:
    """Returns the word of each class: that of a file of codes, or our own where the file has none.

    Raises:
        DataError: the file cannot be read, names another class, or has a code that is none.
    """
    known: Mapping[str, Word] = {} if codes is None else _read(Path(codes), classes)
    return {name: known.get(name) or class_word(name) for name in classes}


def _read(path: Path, classes: Sequence[str]) -> Mapping[str, Word]:
    """The words of a CSV file with the columns class, code, meaning and perhaps scheme (SNOMED's)."""
    table = read_table(path, ["class", "code", "meaning"])
    found: dict[str, Word] = {}
    for row, cells in zip(table.index, table.to_dict("records"), strict=True):
        name, where = str(cells["class"]), f"{path} row {row}"
        if name not in classes:
            known = suggest(name, classes)
            raise DataError(f"{where}: the model has no class '{shortened(name)}'{known}")
        if name in found:
            raise DataError(f"{where} has the class '{name}' again: give each class one code")
        given = {part: str(cells.get(part, "")).strip() for part in _MOST}
        found[name] = _checked(where, {**given, "scheme": given["scheme"] or SNOMED})
    return found


def _checked(where: str, cells: Mapping[str, str]) -> Word:
    for part, most in _MOST.items():
        if not 1 <= len(cells[part]) <= most or "\\" in cells[part] or not cells[part].isprintable():
            raise DataError(
                f"{where}: the {part} is '{shortened(cells[part])}', and must have 1 to {most} characters "
                "without a backslash"
            )
    if cells["scheme"] == SNOMED and not is_snomed(cells["code"]):
        raise DataError(
            f"{where}: the code '{cells['code']}' is no SNOMED CT identifier: a digit is wrong; codes of "
            "another scheme need the column 'scheme'"
        )
    return Word(cells["code"], cells["scheme"], cells["meaning"])


def is_snomed(code: str) -> bool:
    """Returns whether a code can be a SNOMED CT identifier: 6 to 18 digits, of which the last one checks.

    The check is Verhoeff's: digits are multiplied in the group of the symmetries of a pentagon.

    >>> is_snomed("372244006"), is_snomed("372244007"), is_snomed("melanoma")
    (True, False, False)
    """
    if not re.fullmatch(r"[1-9]\d{5,17}", code, re.ASCII):
        return False
    product = 0
    for place, digit in enumerate(reversed(code)):
        product = _times(product, _turned(int(digit), place))
    return product == 0


def _times(first: int, second: int) -> int:
    """The product of two symmetries of a pentagon: 0 to 4 are turns, 5 to 9 are mirrored."""
    turn = (first + second if first < 5 else first - second) % 5
    return turn + 5 * ((first < 5) != (second < 5))


def _turned(digit: int, place: int) -> int:
    """A digit after so many rounds of Verhoeff's permutation."""
    for _ in range(place % 8):
        digit = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[digit]
    return digit
