"""Splits that images come with: words for them, and columns that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.meaning.columns import LABELS, plain, tokens
from lmd.data.dataset.meaning.spelling import is_missing, known_texts, lowered, of_each, shown
from lmd.errors import DataError, suggest

_WORDS = {
    "train": "train training trn trainset trainingset traindata trainingdata",
    "val": "val valid validation validate validating dev valset validset validationset devset valdata "
    "validationdata",
    "test": "test testing tst testset testingset testdata testingdata",
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words.split()}
_BESIDE = frozenset("set sets data dataset split".split())  # Words that may stand beside one, in any place.
# Columns of these names are splits; those of other names where all of their words are splits.
_SURE = frozenset(
    "split splits subset partition datasplit datasubset datapartition traintest trainvaltest".split()
)
_SPLIT_WORDS = frozenset("split splits data dataset name label type set".split())
_MAYBE = frozenset("set sets dataset fold usage phase mode stage role type group cohort".split())
# Words beside that of a split in the name of a column of 1 and 0: "is_test", "used_for_testing".
_ASIDE = frozenset("is in for to as flag used use set data split fold indicator holdout heldout".split())
_TRUE = frozenset("1 1.0 true t yes y x ja j wahr oui vrai si sí sì".split())
_FALSE = frozenset("0 0.0 false f no n nein falsch non faux".split())
_FEW = 10  # Columns of more different words are no splits.


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
    truths = {name: meant for name in names if (meant := _truth_split(raw[name], name, path))}
    return (_of_truths(raw, truths, path), list(truths)) if truths else None


def _split_column(raw: pd.DataFrame, names: Sequence[str], path: Path) -> str | None:
    """The column of splits: by its name, or because all of its words are splits."""
    found = [name for name in names if plain(name) not in LABELS and _is_split(raw[name], name, path)]
    if len(found) > 1:
        raise DataError(
            f"{path} has two columns that could be the split, '{found[0]}' and '{found[1]}'; name one with "
            "--split-column"
        )
    return found[0] if found else None


def _is_split(values: pd.Series, name: str, path: Path) -> bool:
    if plain(name) in _SURE or ("split" in tokens(name) and set(tokens(name)) <= _SPLIT_WORDS):
        return True
    words = [shown(word) for word in dict.fromkeys(known_texts(values)) if word]
    splits = [word for word in words if split_name(word) in SPLITS]
    telling = (
        len({split_name(word) for word in splits}) > 1 or plain(name) in _MAYBE or "split" in tokens(name)
    )
    if not splits or not telling or len(words) > _FEW:
        return False
    other = next((word for word in words if word not in splits), None)
    if other is not None:
        raise DataError(
            f"{path} has '{splits[0]}' and '{other}' in column '{name}': is it the split? name it with "
            f"--split-column '{name}' and say what '{other}' is, as in --split-map '{other}=test', or leave "
            f"the column out with --ignore-column '{name}'"
        )
    return True


def _translated(values: pd.Series, column: str, words: Mapping[str, str], path: Path) -> pd.Series:
    """The split of each row; a word that means none is refused by its row."""
    meant = {shown(word).casefold(): split_name(split) for word, split in words.items()}
    for word, split in meant.items():
        if split not in SPLITS:
            raise DataError(
                f"--split-map {word}={split}: '{split}' is no split; they are {', '.join(SPLITS)}"
            )
    known = known_texts(values)
    splits = of_each(lambda word: word and meant.get(lowered(word), split_name(shown(word))), known)
    other = splits[(splits != "") & ~splits.isin(SPLITS)]
    if len(other):
        word = known[other.index[0]]
        raise DataError(
            f"{path} has the unknown split '{word}' in row {other.index[0]}, column '{column}'"
            f"{suggest(word, SPLITS)}; say what it means with --split-map, as in '{word}={_resembled(word)}'"
        )
    return splits


def _resembled(word: str) -> str:
    """The split that a word resembles by its first letters."""
    starts = {"tr": "train", "a": "train", "l": "train", "v": "val", "e": "val", "d": "val"}
    return next((split for start, split in starts.items() if word.casefold().startswith(start)), "test")


def _truth_split(values: pd.Series, name: str, path: Path) -> str:
    """The split that a column's name decides, "" for none: "is_test" is true for test images.

    Raises:
        DataError: the name alone does not decide: "test" may be a finding, "valid" a mark of quality.
    """
    words = [word for word in tokens(name) if word not in _ASIDE]
    joined = plain(name).removeprefix("is")
    meant = _SPLIT_OF.get(words[0], "") if len(words) == 1 else _SPLIT_OF.get(joined, "")
    held_out = not words and bool({"holdout", "heldout"} & set(tokens(name)))
    marks = {lowered(word) for word in values if not is_missing(word)}
    if not marks or not marks <= _TRUE | _FALSE or not (meant or held_out):
        return ""
    if meant and plain(name) not in _SPLIT_OF:
        return meant
    raise DataError(
        f"{path} has the column '{name}' with values such as '{shown(next(iter(values)))}': is it a split? "
        f"say so with --split-column '{name}' --split-map '1=test,0=train', or leave it out with "
        f"--ignore-column '{name}'"
    )


def _of_truths(raw: pd.DataFrame, truths: Mapping[str, str], path: Path) -> pd.Series:
    """The split of each row by columns such as is_test; beside a single one the rest is training."""
    marks = pd.DataFrame({name: of_each(lowered, raw[name]).isin(_TRUE) for name in truths})
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
