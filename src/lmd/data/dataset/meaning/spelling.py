"""When two texts that a person typed are one: spellings of labels and ids, and words for "not known"."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pandas as pd

from lmd.data.decode.files import printable
from lmd.errors import DataError

_MISSING = frozenset(
    "? ?? ??? - -- --- . .. / _ #n/a #na #null! #value! #ref! #nv #n/d n/a n.a. n.a na <na> <null> nan nil "
    "none null nat nd n.d. n/d nr n.n. n.n k.a. k.a ka unknown unknwon unk unkn unspecified undefined "
    "undetermined missing tbd tba todo empty blank anon anonymous anonymized anonymised redacted removed "
    "hidden withheld anonymous_patient not_available not_known not_given not_specified not_applicable "
    "not_recorded not_reported not_stated not_provided not_done no_data no_value no_info unlabeled "
    "unlabelled no_label no_id no_patient unknown_patient patient_unknown unbekannt nicht_bekannt "
    "keine_angabe ohne_angabe inconnu non_renseigné non_renseigne nc desconocido sin_datos desconhecido "
    "não_informado sconosciuto non_noto onbekend okänd ukendt 未知 不明 不詳 不详 "
    "なし 無し 무명 неизвестно".split()
)
_NO_PERSON = re.compile(r"-\d+|false|xx+|unknown[ _-]?\d+|unk[ _-]?\d+|missing[ _-]?\d+")
_GAPS = re.compile(r"[\s_\-‐‑‒–—−]+")
_WHOLE = re.compile(r"[+-]?(\d+)(?:[.,]0*)?")
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d*)?(?:e[+-]?\d{1,2})?")
_THOUSANDS = re.compile(r"\d{1,3}(?:[,'’ ]\d{3})+")
_SHORTENED = re.compile(r"\d[.,]\d+[Ee]\+\d{2,}")
_TEXT_MARK = re.compile(r"""^='?"?(.*?)"?$|^'(.*)$""")
_QUOTES = str.maketrans("’‘`´ʼ′“”„«»″", "'" * 6 + '"' * 6)
# Letters of other scripts that print as Latin ones.
_LOOKS_LATIN = str.maketrans(
    "АВЕКМНОРСТУХІЈЅаеорсухіјѕΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEKMHOPCTYXIJSaeopcyxijsABEZHIKMNOPTYXo"
)
_SAME = {"true": "1", "false": "0", "y": "yes", "n": "no"}


def shown(text: str) -> str:
    r"""Returns a text as a reader sees it: no invisible characters, one space for each gap.

    >>> shown("  basal\u00a0 cell\u200b ")
    'basal cell'
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    kept = (letter for letter in unicodedata.normalize("NFKC", text) if not _is_invisible(letter))
    return " ".join("".join(kept).split())


def lowered(text: str) -> str:
    """Returns a text as a reader sees it, in small letters."""
    return shown(text).casefold()


def _is_invisible(letter: str) -> bool:
    """Whether a character prints nothing: of format, of control, or a joiner or filler."""
    kind = unicodedata.category(letter)
    fills = letter in "\u034f\u115f\u1160\u3164\uffa0"
    return (kind in ("Cf", "Cc", "Cn", "Co") and not letter.isspace()) or fills


def is_missing(text: str) -> bool:
    """Whether a text only says that a value is not known, or says nothing.

    >>> [is_missing(word) for word in ("N/A", " unknown ", "-", "", "naevus")]
    [True, True, True, True, False]
    """
    word = shown(text).casefold().strip("()[]<>\"'")
    return not word or word in _MISSING or re.sub(r"[ ^-]+", "_", word) in _MISSING


def is_no_person(text: str) -> bool:
    """Whether an id only says that nobody is known: a word for it, or a number such as -1.

    >>> [is_no_person(word) for word in ("unknown_1", "-1", "xxxx", "P1")]
    [True, True, True, False]
    """
    return is_missing(text) or _NO_PERSON.fullmatch(shown(text).casefold()) is not None


def of_each(function: Callable[[str], Any], texts: pd.Series) -> pd.Series:
    """Returns a function of each text of a column; it is called once for each different text."""
    made = {text: function(text) for text in dict.fromkeys(texts)}
    return pd.Series([made[text] for text in texts], index=texts.index, dtype=object)


def known_texts(texts: pd.Series, unknown: Callable[[str], bool] = is_missing) -> pd.Series:
    """Returns the texts of a column without spaces around them, "" where nothing is known."""
    return of_each(lambda text: "" if unknown(text) else text.strip(), texts)


def label_key(text: str) -> str:
    """Returns what two labels share that a reader takes for one: case, gaps, Unicode form, number, marks.

    >>> label_key("Basal_Cell ") == label_key("basal  cell"), label_key("1.0") == label_key("01")
    (True, True)
    >>> label_key("Grade 1.") == label_key("grade1"), label_key("1 0") == label_key("10")
    (True, False)
    """
    word = _plain(html.unescape(text))
    number = _as_number(word)
    if number:
        return number
    joined = re.sub(r"(?<=\D) | (?=\D)", "", _GAPS.sub(" ", word).strip(" .;:,"))
    return _SAME.get(joined, joined) or word


def id_key(text: str) -> str:
    """Returns what two ids share that are one person written differently.

    >>> len({id_key(word) for word in ("P-03", "p3", "P 03", "P3.0", "#P/3")}), id_key("1-2") == id_key("12")
    (1, False)
    """
    word = _plain(text).strip("#()[]{};:. ")
    whole = _WHOLE.fullmatch(_without_thousands(word))
    if whole:
        return _short(word, whole[1])
    word = _GAPS.sub("-", re.sub(r"\s*[,;:]\s*", ",", word))
    word = re.sub(r"(?<=[^\W\d_])[-./,]+(?=\d)|(?<=\d)[-/]+(?=[^\W\d_])", "", word)
    word = re.sub(r"^(\D*\d+)[.,]0+$", r"\1", word)
    return re.sub(r"(?<!\d)(?<!\d\.)0+(?=\d)", "", word)


def _plain(text: str) -> str:
    """A text as it is shown, without the marks that spreadsheets put before texts, in one alphabet."""
    word = shown(text).translate(_QUOTES)
    marked = _TEXT_MARK.match(word)
    if marked and (word.startswith("=") or not word.endswith("'")):
        word = marked[1] if marked[1] is not None else marked[2]
    latin = word.translate(_LOOKS_LATIN)
    return (latin if latin.isascii() else word).casefold().strip()


def _without_thousands(word: str) -> str:
    return re.sub(r"[,'’ ]", "", word) if _THOUSANDS.fullmatch(word) else word


def _short(word: str, digits: str) -> str:
    return ("-" if word.startswith("-") else "") + (digits.lstrip("0") or "0")


def _as_number(word: str) -> str:
    """The shortest form of a text that is a number; "" where it is none."""
    word = _without_thousands(word)
    whole = _WHOLE.fullmatch(word)
    if whole:
        return _short(word, whole[1])
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
