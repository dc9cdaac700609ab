"""What the values of a column look like: ids of persons or lesions, dates, codes of diseases."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lmd.data.dataset.meaning.columns import tokens

_DATE = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}.*|(19|20)\d\d(\d{4})?")
_DISEASE = re.compile(r"[A-TV-Z]\d\d(\.\w{1,4})?|\d{3}\.\d{1,2}")  # ICD-10 and ICD-9.
_NUMBERED_ID = re.compile(r"([^\W\d]*)[-_ /.]?\d+|\d{4,}|(?=\w*\d)[0-9a-fA-F-]{8,}")


def are_diseases(values: Iterable[str]) -> bool:
    """Whether all values are codes of diseases (ICD-10, ICD-9), and no numbers behind one letter."""
    found = list(values)
    numbered = len({word[:1] for word in found}) == 1 and not any("." in word for word in found)
    whole = all(word.endswith(".0") for word in found)
    return all(_DISEASE.fullmatch(word) for word in found) and not numbered and not whole


def names_a_code(name: str) -> bool:
    """Whether a column's name says that it holds codes, such as those of diseases."""
    return bool(set(tokens(name)) & {"code", "icd", "dx", "diagnosis", "disease", "morphology", "snomed"})


def look_like_ids(values: Iterable[str]) -> bool:
    """Whether the different values of a column are numbered names or long numbers: "P0012", "7310442".

    Dates, years and codes of diseases are none.

    >>> look_like_ids(["S1", "S2", "S3", "S4", "S5"]), look_like_ids(["2019", "2020", "2021", "2022", "2023"])
    (True, False)
    """
    found = list(values)
    if len(found) < 5 or all(_DATE.fullmatch(word) for word in found) or are_diseases(found):
        return False
    fits = [_NUMBERED_ID.fullmatch(word) for word in found]
    named = {match[1] for match in fits if match is not None and match[1] is not None}
    short = all(word.isdigit() and len(word) < 4 for word in found)
    return all(fits) and len(named) <= 2 and not short
