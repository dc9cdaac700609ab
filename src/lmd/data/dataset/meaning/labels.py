"""The label of each row of a table: which column it is, and what is refused or told of its words."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lmd.data.dataset.meaning.columns import label_columns, possible_label_columns
from lmd.data.dataset.meaning.marks import labels_of_marks, mark_columns, refuse_doubtful_marks
from lmd.data.dataset.meaning.spelling import is_missing, known_texts, of_each, refuse_twins, shown
from lmd.errors import DataError
from lmd.text import shortened

_log = logging.getLogger(__name__)

_LIST_OF_ONE = re.compile(r"""\[\s*["']?([^"',|;\[\]]+?)["']?\s*\]""")
_NO_CLASS = frozenset("-1 -9 -99 -999 99 999 9999".split())  # What tables write as a number for "not known".
_SEVERAL = re.compile(r"\s*[|;,&+]\s*")
_MANY_NUMBERS = 10  # Different numbers from which labels may be measurements.


def labels_of(
    raw: pd.DataFrame,
    names: Sequence[str],
    named: str | None,
    marked: Sequence[str],
    unmarked: str,
    path: Path,
) -> tuple[pd.Series, list[str]]:
    """Returns the label of each row and the columns that it is from: one of labels, or one for each class.

    Raises:
        DataError: no column, or two, could be the label; several classes in a row; numbers that are measured.
    """
    if marked:
        return labels_of_marks(raw, list(marked), unmarked, path), list(marked)
    column = named or _label_column(raw, names, path)
    if column is None:
        columns = mark_columns(raw, names)
        refuse_doubtful_marks(raw, names, columns, path)
        _tell_two(columns)
        return labels_of_marks(raw, columns, unmarked, path), columns
    labels = of_each(_alone, raw[column])
    _refuse_measured(labels, column, path)
    _refuse_several(labels, path)
    return labels, [column]


def _tell_two(columns: Sequence[str]) -> None:
    """Says that two columns are taken for the classes: one is the other's opposite, as of any property."""
    if len(columns) == 2:
        _log.warning(
            "'%s' and '%s' hold 1 and 0, each row one 1: they are taken for two classes; where they tell "
            "something else, name the column of the label with --label-column",
            *columns,
        )


def _alone(word: str) -> str:
    """A label without spaces around it, or out of the list that holds it alone: "['MEL']"."""
    listed = _LIST_OF_ONE.fullmatch(word.strip())
    return listed[1] if listed else word.strip() if shown(word) else ""


def _label_column(raw: pd.DataFrame, names: Sequence[str], path: Path) -> str | None:
    """The column of labels; None where columns mark the classes instead."""
    usual = label_columns(names)
    marks: list[str] = [] if usual else mark_columns(raw, names)
    found = usual or [*possible_label_columns(names), *marks[:1]]
    if len(found) > 1:
        raise DataError(
            f"{path} has two columns that could be the label, '{found[0]}' and '{found[1]}'; name one with "
            "--label-column, or columns that mark classes with --label-columns"
        )
    if found:
        return None if found == marks[:1] else found[0]
    columns = ", ".join(map(str, raw.columns))
    raise DataError(f"{path} has no label column (columns: {columns}); name it with --label-column")


def _refuse_measured(labels: pd.Series, column: str, path: Path) -> None:
    """Refuses numbers that look measured, and labels of which each stands once."""
    words = labels[known_texts(labels) != ""]
    different = words.nunique()
    if different <= _MANY_NUMBERS:
        return
    numbers = pd.to_numeric(of_each(lambda word: word.replace(",", "."), words), errors="coerce")
    if numbers.notna().all() and _are_spread(numbers):
        raise DataError(
            f"{path} has {different} different numbers in the label column '{column}' (row {words.index[0]}: "
            f"'{words.iloc[0]}'): is this a regression target? a label must be a class; name it with "
            "--label-column"
        )
    if different == len(words):
        raise DataError(
            f"{path} has another label in each of {different} rows of column '{column}' (row "
            f"{words.index[0]}: '{shortened(words.iloc[0])}'): is it the label? name the column of the class "
            "with --label-column"
        )


def _are_spread(numbers: pd.Series) -> bool:
    """Whether numbers are no names of classes: they have gaps, and few stand more than twice."""
    different = numbers.nunique()
    gaps = bool((numbers % 1 != 0).any()) or numbers.max() - numbers.min() >= different
    return gaps and different > len(numbers) / 3


def _refuse_several(labels: pd.Series, path: Path) -> None:
    """Refuses labels that list several classes, such as "Mass|Effusion"."""
    words = set(labels)
    for word in sorted(words):
        parts = [part.strip(" '\"[]") for part in _SEVERAL.split(word)]
        listed = len(parts) > 1 and all(parts) and not all(part.isdigit() for part in parts)
        if listed and ("|" in word or word.startswith("[") or all(part in words for part in parts)):
            row = labels.index[labels == word][0]
            raise DataError(
                f"{path} gives several classes in row {row}: '{shortened(word)}'; several classes of one "
                "image (multi-label) are not supported"
            )


def refuse_similar(labels: pd.Series, path: Path) -> None:
    """Refuses labels that a reader takes for one.

    Raises:
        DataError: two such labels, with the first row of each.
    """
    first = labels[~labels.duplicated()]
    rows = dict(zip(first, first.index, strict=True))
    refuse_twins(labels, f"{path}: labels", lambda name: f" (row {rows[name]})")


def tell_missing_words(labels: pd.Series, option: str) -> None:
    """Tells of classes whose name may mean that the class is not known; `option` leaves their images out."""
    counts = Counter(label for label in labels if is_missing(label) or label in _NO_CLASS)
    if counts:
        words = ", ".join(f"'{word}' {number}" for word, number in counts.most_common())
        _log.warning(
            "these labels may mean that the class is not known: %s; each is a class as it stands; leave its "
            "images out with %s", words, option,
        )  # fmt: skip
