"""Columns that look like persons, studies or lesions and were not used: a leak, if they are."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lmd.data.dataset.meaning.columns import is_doubtful, is_property, level_of, suspects_a_person
from lmd.data.dataset.meaning.grouping import FEW, is_within
from lmd.data.dataset.meaning.ids import are_diseases, look_like_ids, names_a_code
from lmd.data.dataset.meaning.spelling import is_no_person, known_texts


def unused_people(
    table: pd.DataFrame, groups: pd.Series, labels: pd.Series, names: Sequence[str]
) -> tuple[str, ...]:
    """Returns the columns that look like persons, studies or lesions and have images in several groups."""
    return tuple(
        name for name in names if _is_torn(name, known_texts(table[name], is_no_person), groups, labels)
    )


def _is_torn(name: str, ids: pd.Series, groups: pd.Series, labels: pd.Series) -> bool:
    """Whether a column's name or values mean ids, and one of them has images in several groups."""
    words = set(ids) - {""}
    is_id = level_of(name) is not None and not is_doubtful(name)
    # A name or code that the label decides is another word for the class.
    many = len(words) >= FEW and not is_within(labels, ids)
    by_name = suspects_a_person(name) and not (names_a_code(name) and are_diseases(words))
    suspected = many and (by_name or (look_like_ids(words) and not is_property(name)))
    return (is_id or suspected) and not is_within(ids, groups)
