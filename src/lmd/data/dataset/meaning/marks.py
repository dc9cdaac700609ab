"""Columns that mark classes with 1: one column for each class, and one mark in each row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lmd.data.dataset.meaning.columns import is_doubtful, is_property, tokens
from lmd.data.dataset.meaning.spelling import is_missing, known_texts, lowered, of_each
from lmd.errors import DataError
from lmd.text import numbered

_ONE, _NONE = frozenset(("1", "1.0", "true", "yes", "x")), frozenset(("0", "0.0", "false", "no", ""))
_UNCERTAIN = frozenset(("-1", "-1.0", "u", "2", "2.0", "0.5"))
_BEFORE_A_CLASS = frozenset(("label", "class", "dx", "diagnosis", "target"))
_NOT_CLASSES = frozenset(
    "male female sex left right verified train training val valid validation test testing".split()
)


def mark_columns(raw: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Returns the columns that may mark a class with 1: they hold marks alone, and there are several."""
    columns = [name for name in names if _may_be_a_class(name) and _is_marks(raw[name])]
    return columns if len(columns) > 1 else []


def refuse_doubtful_marks(raw: pd.DataFrame, names: Sequence[str], columns: list[str], path: Path) -> None:
    """Refuses to take columns of 1 and 0 for the classes where something else may be meant.

    Raises:
        DataError: another column may be the label or belong to the classes, or a row marks none.
    """
    marks = ", ".join(f"'{name}'" for name in columns)
    others = [name for name in names if name not in columns and _may_be_a_class(name)]
    other = next((name for name in others if _may_be_words(raw[name]) or _is_nearly_marks(raw[name])), None)
    if other is not None:
        raise DataError(
            f"{path} has no column that is known as the label: {marks} hold 1 and 0, and '{other}' may be "
            "meant or belong to them; name the column of the label with --label-column, or those of the "
            "classes with --label-columns"
        )
    none = _marked(raw, columns).sum(axis=1) == 0
    if bool(none.any()):
        raise DataError(
            f"{path} marks no class in row {none.idxmax()} ({numbered(int(none.sum()), 'such row')}) by "
            "the columns "
            f"{marks}: name the columns of the classes with --label-columns, and the class of such rows with "
            "--unmarked; or name the column of the label with --label-column"
        )


def labels_of_marks(raw: pd.DataFrame, columns: list[str], unmarked: str, path: Path) -> pd.Series:
    """Returns the class that each row marks; `unmarked` where it marks none.

    Raises:
        DataError: a column holds something else than marks, or a row has several.
    """
    wrong = next((name for name in columns if not _is_marks(raw[name])), None)
    if wrong is not None:
        raise DataError(f"{path}: column '{wrong}' must mark a class with 1 and 0, and holds other values")
    marks = _marked(raw, columns)
    several = marks.index[marks.sum(axis=1) > 1]
    if len(several):
        both = [name for name in columns if marks.at[several[0], name]]
        raise DataError(
            f"{path} marks '{both[0]}' and '{both[1]}' in row {several[0]} "
            f"({numbered(len(several), 'such row')}): "
            "several classes of one image (multi-label) are not supported; name the columns of the classes "
            "with --label-columns, or a column of labels with --label-column"
        )
    return marks.idxmax(axis=1).where(marks.any(axis=1), unmarked)


def _may_be_a_class(name: str) -> bool:
    """Whether a column's name is none of a property or an id; "lesion" and "case" may be classes."""
    known = name.casefold().removeprefix("is_") in _NOT_CLASSES
    own = " ".join(
        word for word in tokens(name) if word not in _BEFORE_A_CLASS
    )  # "label_mel" of get_dummies.
    return not known and (is_doubtful(name) or not is_property(own))


def _is_marks(values: pd.Series) -> bool:
    words = set(of_each(lowered, values))
    return words <= _ONE | _NONE and bool(words & _ONE or "0" in words or "0.0" in words)


def _marked(raw: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({name: of_each(lowered, raw[name]).isin(_ONE) for name in columns})


def _is_nearly_marks(values: pd.Series) -> bool:
    """Whether a column holds marks, and something for "uncertain" beside them."""
    words = set(of_each(lowered, values))
    rest = {word for word in words - _ONE - _NONE - _UNCERTAIN if not is_missing(word)}
    return bool(words & _ONE) and not rest


def _may_be_words(values: pd.Series) -> bool:
    """Whether a column holds some words again and again, as labels do."""
    words = [word for word in known_texts(values) if word]
    different = set(words)
    return 2 <= len(different) <= len(words) / 2 and not all(map(_is_number, different))


def _is_number(word: str) -> bool:
    return word.lstrip("+-").replace(",", ".").replace(".", "", 1).isdigit()
