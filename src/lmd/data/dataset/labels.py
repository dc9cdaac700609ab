"""The label of each row of a table: which column it is, and what is refused or told of its words."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lmd.data.dataset.columns import label_columns, level_of
from lmd.data.dataset.spelling import is_missing, known_ids, of_each, refuse_twins, shown
from lmd.errors import DataError
from lmd.text import shortened

_log = logging.getLogger(__name__)

_ONE, _NONE = frozenset(("1", "1.0", "true", "yes", "x")), frozenset(("0", "0.0", "false", "no", ""))
_SEVERAL = re.compile(r"\s*[|;,&+]\s*")
_MANY_NUMBERS = 10  # Different numbers from which labels may be measurements.
_NOT_CLASSES = frozenset(
    "male female sex left right verified train training val valid validation test testing biopsy".split()
)


def labels_of(
    raw: pd.DataFrame, names: Sequence[str], named: str | None, marked: Sequence[str], path: Path
) -> tuple[pd.Series, list[str]]:
    """Returns the label of each row and the columns that it is from: one of labels, or one for each class.

    Raises:
        DataError: no column, or two, could be the label; several classes in a row; numbers that are measured;
            labels that a reader takes for one.
    """
    if marked:
        return _of_marks(raw, list(marked), path), list(marked)
    column = named or _label_column(raw, names, path)
    if column is None:
        columns = _mark_columns(raw, names)
        return _of_marks(raw, columns, path), columns
    labels = of_each(lambda word: word.strip() if shown(word) else "", raw[column])
    _refuse_measured(labels, column, path)
    _refuse_several(labels, path)
    return labels, [column]


def _label_column(raw: pd.DataFrame, names: Sequence[str], path: Path) -> str | None:
    found = label_columns(names)
    if len(found) > 1:
        raise DataError(
            f"{path} has two columns that could be the label, '{found[0]}' and '{found[1]}'; name one with "
            "--label-column"
        )
    if found or _mark_columns(raw, names):
        return found[0] if found else None
    columns = ", ".join(map(str, raw.columns))
    raise DataError(f"{path} has no label column (columns: {columns}); name it with --label-column")


def _mark_columns(raw: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """The columns that mark a class with 1: they hold marks alone, and there are several."""
    columns = [
        name
        for name in names
        if name.casefold().removeprefix("is_") not in _NOT_CLASSES
        and level_of(name) is None
        and _is_marks(raw[name])
    ]
    return columns if len(columns) > 1 else []


def _is_marks(values: pd.Series) -> bool:
    words = set(of_each(_lower, values))
    return words <= _ONE | _NONE and bool(words & _ONE or "0" in words or "0.0" in words)


def _lower(word: str) -> str:
    return shown(word).casefold()


def _of_marks(raw: pd.DataFrame, columns: list[str], path: Path) -> pd.Series:
    """The class that each row marks; "" where it marks none."""
    wrong = next((name for name in columns if not _is_marks(raw[name])), None)
    if wrong is not None:
        raise DataError(f"{path}: column '{wrong}' must mark a class with 1 and 0, and holds other values")
    marks = pd.DataFrame({name: of_each(_lower, raw[name]).isin(_ONE) for name in columns})
    several = marks.index[marks.sum(axis=1) > 1]
    if len(several):
        both = [name for name in columns if marks.at[several[0], name]]
        raise DataError(
            f"{path} marks '{both[0]}' and '{both[1]}' in row {several[0]} ({len(several)} such rows): "
            "several classes of one image (multi-label) are not supported; name the columns of the classes "
            "with --label-columns, or a column of labels with --label-column"
        )
    return marks.idxmax(axis=1).where(marks.any(axis=1), "")


def _refuse_measured(labels: pd.Series, column: str, path: Path) -> None:
    """Refuses numbers that look measured, and labels of which each stands once."""
    words = labels[known_ids(labels) != ""]
    different = words.nunique()
    if different <= _MANY_NUMBERS:
        return
    numbers = pd.to_numeric(of_each(lambda word: word.replace(",", "."), words), errors="coerce")
    if numbers.notna().all() and (bool((numbers % 1 != 0).any()) or _are_spread(numbers)):
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
    """Whether whole numbers are no numbers of classes: they have gaps, and few stand more than twice."""
    different = numbers.nunique()
    return numbers.max() - numbers.min() >= different and different > len(numbers) / 3


def _refuse_several(labels: pd.Series, path: Path) -> None:
    """Refuses labels that list several classes, such as "Mass|Effusion"."""
    words = set(labels)
    for word in sorted(words):
        parts = [part.strip(" '\"[]") for part in _SEVERAL.split(word)]
        listed = len(parts) > 1 and all(parts)
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


def tell_missing_words(labels: pd.Series) -> None:
    """Tells of classes whose name may mean that the class is not known."""
    counts = Counter(label for label in labels if is_missing(label))
    if counts:
        words = ", ".join(f"'{word}' {number}" for word, number in counts.most_common())
        _log.warning(
            "these labels may mean that the class is not known: %s; each is a class as it stands; leave its "
            "images out with --drop-label", words,
        )  # fmt: skip
