"""When two texts that a person typed are one: spellings of labels and ids, and words for "not known"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pandas as pd

from lmd.data.decode.files import printable
from lmd.errors import DataError

_MISSING = frozenset(
    "? ?? ??? - -- --- . .. / _ x xx xxx #n/a #na #null! #value! #ref! n/a n.a. n.a na <na> <null> nan nil "
    "none null nat unknown unknwon unk unkn unspecified undefined undetermined missing tbd tba todo empty "
    "blank anon anonymous anonymized anonymised not_available not_known not_given not_specified "
    "not_applicable no_data no_value unlabeled unlabelled no_label no_id no_patient unknown_patient "
    "patient_unknown unbekannt inconnu "
    "desconocido desconhecido sconosciuto onbekend okänd 未知 不明".split()
)
_GAPS = re.compile(r"[\s_\-‐‑‒–—−]+")
_WHOLE = re.compile(r"[+-]?(\d+)(?:[.,]0*)?")
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d*)?(?:e[+-]?\d+)?")
_SHORTENED = re.compile(r"\d[.,]\d+[Ee]\+\d{2,}")


def shown(text: str) -> str:
    r"""Returns a text as a reader sees it: no invisible characters, one space for each gap.

    >>> shown("  basal\u00a0 cell\u200b ")
    'basal cell'
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    kept = (letter for letter in unicodedata.normalize("NFKC", text) if not _is_invisible(letter))
    return " ".join("".join(kept).split())


def _is_invisible(letter: str) -> bool:
    """Whether a character prints nothing: of format, of control, or a joiner or filler."""
    kind = unicodedata.category(letter)
    return (
        kind in ("Cf", "Cc", "Cn", "Co") and not letter.isspace()
    ) or letter in "\u034f\u115f\u1160\u3164\uffa0"


def is_missing(text: str) -> bool:
    """Whether a text only says that a value is not known, or says nothing.

    >>> [is_missing(word) for word in ("N/A", " unknown ", "-", "", "naevus")]
    [True, True, True, True, False]
    """
    word = shown(text).casefold().strip("()[]<>\"'")
    return not word or word in _MISSING or word.replace(" ", "_") in _MISSING


def of_each(function: Callable[[str], Any], texts: pd.Series) -> pd.Series:
    """Returns a function of each text of a column."""
    return pd.Series([function(text) for text in texts], index=texts.index, dtype=object)


def known_ids(texts: pd.Series) -> pd.Series:
    """Returns the ids of a column without spaces around them, "" where none is known."""
    return of_each(lambda text: "" if is_missing(text) else text.strip(), texts)


def label_key(text: str) -> str:
    """Returns what two labels share that a reader takes for one: case, gaps, Unicode form, number.

    >>> label_key("Basal_Cell ") == label_key("basal  cell"), label_key("1.0") == label_key("01")
    (True, True)
    """
    word = _GAPS.sub(" ", shown(text)).strip().casefold() or shown(text)
    return _as_number(shown(text).casefold()) or word


def id_key(text: str) -> str:
    """Returns what two ids share that are one person written differently.

    >>> len({id_key(word) for word in ("P-03", "p3", "P 03", "P3.0")}), id_key("1-2") == id_key("12")
    (1, False)
    """
    word = _GAPS.sub("-", shown(text).casefold())
    number = _as_number(word)
    if number:
        return number
    word = re.sub(r"(?<=[^\W\d_])-(?=\d)|(?<=\d)-(?=[^\W\d_])", "", word)
    word = re.sub(r"^(\D*\d+)[.,]0+$", r"\1", word)
    return re.sub(r"(?<!\d)(?<!\d\.)0+(?=\d)", "", word)


def _as_number(word: str) -> str:
    """The shortest form of a text that is a number; "" where it is none."""
    whole = _WHOLE.fullmatch(word)
    if whole:
        return ("-" if word.startswith("-") else "") + (whole[1].lstrip("0") or "0")
    return f"{float(word.replace(',', '.')):.15g}" if _NUMBER.fullmatch(word) else ""


def is_shortened(text: str) -> bool:
    """Whether a spreadsheet has cut a long number, so that many ids became one.

    >>> is_shortened("1.23457E+11"), is_shortened("1E5")
    (True, False)
    """
    return _SHORTENED.fullmatch(text.strip()) is not None


def twins(words: Iterable[str], key: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yields the pairs of different words with the same key; each word beside the first of its key."""
    seen: dict[str, str] = {}
    for word in sorted(set(words)):
        other = seen.setdefault(key(word), word)
        if other != word:
            yield other, word


def refuse_twins(names: Iterable[str], what: str, rows: Callable[[str], str] = lambda name: "") -> None:
    """Refuses names that a reader takes for one; `rows` says where a name stands.

    Raises:
        DataError: two such names, both named.
    """
    for first, second in twins(names, label_key):
        one, two = (f"'{printable(name)}'{rows(name)}" for name in (first, second))
        raise DataError(
            f"{what} {one} and {two} differ only by case, spaces, spelling or form of a number; make them one"
        )
