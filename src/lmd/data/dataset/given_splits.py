"""Splits that images come with: words for them, and columns that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.columns import plain, tokens
from lmd.data.dataset.spelling import known_ids, of_each, shown
from lmd.errors import DataError, suggest

_WORDS = {
    "train": "train training trn trainset trainingset traindata trainingdata",
    "val": "val valid validation validate validating dev valset validset validationset devset valdata "
    "validationdata",
    "test": "test testing tst testset testingset testdata testingdata",
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words.split()}
_BESIDE = frozenset("set sets data dataset split".split())  # Words that may stand beside one, in any place.
_COLUMNS = frozenset(
    "split splits datasplit datasetsplit splitname splitset splitlabel partition datapartition subset "
    "datasubset "
    "traintest trainvaltest traintestsplit trainvaltestsplit splittype".split()
)
# Names that a column may have for other reasons: a split only where all its words are.
_MAYBE = frozenset(
    "set sets dataset datasets fold usage phase mode stage type group cohort subgroup purpose".split()
)
_TRUE, _FALSE = frozenset("1 1.0 true t yes y".split()), frozenset("0 0.0 false f no n".split())


def split_name(word: str) -> str:
    """Returns the split that a word means; other words are returned as they are.

    >>> split_name("Validation"), split_name("train_set"), split_name("holdout")
    ('val', 'train', 'holdout')
    """
    return _meant(word, _BESIDE) or word.strip().lower()


def _meant(name: str, beside: frozenset[str]) -> str:
    words = [word for word in tokens(name) if word not in beside]
    return _SPLIT_OF.get(words[0], "") if len(words) == 1 else ""


def given_splits(
    raw: pd.DataFrame, names: Sequence[str], named: str | None, words: Mapping[str, str], path: Path
) -> tuple[pd.Series, list[str]] | None:
    """Returns the split of each row ("" where it says none) and the columns it is from; None without any.

    `words` maps other words to splits.

    Raises:
        DataError: a word that is no split, two columns that could be the split, or a row in two.
    """
    column = named or _split_column(raw, names, path)
    if column is not None:
        return _translated(raw[column], column, words, path), [column]
    if words:
        raise DataError(
            f"--split-map needs the column that it is for: name it with --split-column (in {path})"
        )
    truths = {name: meant for name in names if (meant := _truth_split(name)) and _holds_truths(raw[name])}
    return (_of_truths(raw, truths, path), list(truths)) if truths else None


def _split_column(raw: pd.DataFrame, names: Sequence[str], path: Path) -> str | None:
    found = [name for name in names if plain(name) in _COLUMNS]
    maybe = {name: _words(raw[name]) for name in names if plain(name) in _MAYBE}
    for name, words in maybe.items():
        splits = [word for word in words if split_name(word) in SPLITS]
        if splits and len(splits) == len(words):
            found.append(name)
        elif splits and not found:
            other = next(word for word in words if word not in splits)
            raise DataError(
                f"{path} has '{splits[0]}' and '{other}' in column '{name}': is it the split? name it with "
                f"--split-column and say what '{other}' is, as in --split-map {other}=test, or leave the "
                f"column out with --ignore-column '{name}'"
            )
    if len(found) > 1:
        raise DataError(
            f"{path} has two columns that could be the split, '{found[0]}' and '{found[1]}'; name one with "
            "--split-column"
        )
    return found[0] if found else None


def _words(values: pd.Series) -> list[str]:
    """The words of a column but those for "not known"."""
    return [word for word in dict.fromkeys(known_ids(values)) if word]


def _translated(values: pd.Series, column: str, words: Mapping[str, str], path: Path) -> pd.Series:
    """The split of each row; a word that means none is refused by its row."""
    meant = {shown(word).casefold(): split_name(split) for word, split in words.items()}
    for word, split in meant.items():
        if split not in SPLITS:
            raise DataError(
                f"--split-map {word}={split}: '{split}' is no split; they are {', '.join(SPLITS)}"
            )
    known = known_ids(values)
    splits = of_each(lambda word: word and meant.get(_lower(word), split_name(shown(word))), known)
    other = splits[(splits != "") & ~splits.isin(SPLITS)]
    if len(other):
        word = known[other.index[0]]
        raise DataError(
            f"{path} has the unknown split '{word}' in row {other.index[0]}, column '{column}'"
            f"{suggest(word, SPLITS)}; say what it means with --split-map '{word}=test'"
        )
    return splits


def _truth_split(name: str) -> str:
    """The split that a column's name decides: "is_test" is true for test images."""
    words = [word for word in tokens(name) if word not in ("is", "in", "for")]
    joined = "".join(words).removeprefix("is")
    return _meant(" ".join(words), _BESIDE) or _SPLIT_OF.get(joined, "")


def _lower(word: str) -> str:
    return shown(word).casefold()


def _holds_truths(values: pd.Series) -> bool:
    return set(of_each(_lower, values)) <= _TRUE | _FALSE


def _of_truths(raw: pd.DataFrame, truths: Mapping[str, str], path: Path) -> pd.Series:
    """The split of each row by columns such as is_test; beside a single one the rest is training."""
    marks = pd.DataFrame({name: of_each(_lower, raw[name]).isin(_TRUE) for name in truths})
    several = marks.index[marks.sum(axis=1) > 1]
    if len(several):
        names = " and ".join(f"'{name}'" for name in truths)
        raise DataError(f"{path} puts row {several[0]} into two splits by the columns {names}")
    splits = pd.Series("", index=raw.index, dtype=object)
    for name, split in truths.items():
        splits[marks[name]] = split
    left = [split for split in SPLITS if split not in truths.values()]
    rest = left[0] if len(truths) > 1 and left else "test" if left[:1] == ["val"] else "train"
    return splits.where(splits != "", rest if left else "")
