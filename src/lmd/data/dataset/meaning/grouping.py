"""Whom each image of a table belongs to: patient before study before lesion, and all of it is said."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from lmd.data.dataset.meaning.codes import code_lines
from lmd.data.dataset.meaning.columns import LEVELS, is_doubtful, level_of
from lmd.data.dataset.meaning.ids import look_like_ids
from lmd.data.dataset.meaning.spelling import id_key, is_no_person, is_shortened, known_texts, of_each, twins
from lmd.errors import DataError
from lmd.settings import Settings
from lmd.text import numbered

_log = logging.getLogger(__name__)

Level = Literal["patient", "case", "study", "series", "lesion", "group", "image"]
SimilarIds = Literal["refuse", "merge", "keep"]
SOME_UNKNOWN = "patients of some images are not known: images of one patient may be in training and test"
PATIENTS_UNKNOWN = "patients are not known: images of one patient may be in training and test"
FEW = 5  # Fewer values than this under a name such as "code" are no persons.


class Grouping(Settings):
    """Whose images stay together in a data set."""

    level: Level
    """what a group is; image where nothing is known"""
    columns: tuple[str, ...] = ()
    """columns that the groups are from, the coarsest first"""
    unused: tuple[str, ...] = ()
    """columns that look like persons and divide the images otherwise"""
    doubtful: tuple[str, ...] = ()
    """columns whose name may mean groups, and whose values do not look like ids"""
    empty: tuple[str, ...] = ()
    """columns that should name groups and hold no known id"""
    unknown: int = 0
    """images whose group is not known; each is a group of its own"""

    @property
    def knows_patients(self) -> bool:
        """Whether a group is a patient, or holds all images of one, for every image."""
        return self.level in ("patient", "case") and not self.unknown


def named_groups(
    raw: pd.DataFrame, named: str, ids: pd.Series, path: Path, similar: SimilarIds
) -> tuple[pd.Series, Grouping]:
    """Returns the groups of a column that the user named."""
    groups = _sound(raw[named], named, path, similar)
    return _finished(groups, ids, Grouping(level=level_of(named) or "group", columns=(named,)))


def find_groups(
    raw: pd.DataFrame,
    names: Sequence[str],
    wanted: str | None,
    path: Path,
    ids: pd.Series,
    similar: SimilarIds,
) -> tuple[pd.Series, Grouping]:
    """Returns the group of each image by the columns `names`, and what was found.

    Levels that are nested (a patient has studies, a study has lesions) take the coarsest. Where it is not
    known, the next finer one is taken. `wanted` is the level that was asked for: "group" is any of them.

    Raises:
        DataError: two columns contradict each other, ids are one person written differently, or nothing is
            known of the level that was asked for.
    """
    named = {name: level for name in names if (level := level_of(name)) is not None}
    doubtful = tuple(name for name in named if is_doubtful(name) and not _are_ids(raw[name], named[name]))
    levels = {name: level for name, level in named.items() if name not in doubtful}
    chosen = {name: level for name, level in levels.items() if wanted in (None, "group", level)}
    if wanted is not None and not chosen:
        raise DataError(_nothing_found(path, wanted, levels, names))
    known = {name: _sound(raw[name], name, path, similar) for name in chosen}
    ordered = _ordered(known, chosen, path)
    if not ordered:
        _refuse_empty(path, wanted, list(chosen))
        return ids, Grouping(level="image", empty=tuple(chosen), doubtful=doubtful)
    groups = _laid_over([known[name] for name in ordered])
    found = Grouping(level=chosen[ordered[0]], columns=tuple(ordered), doubtful=doubtful)
    return _finished(groups, ids, found)


def _are_ids(values: pd.Series, level: str) -> bool:
    """Whether the values of a column with a doubtful name are ids: many, or numbered."""
    words = set(known_texts(values, is_no_person)) - {""}
    return len(words) >= (3 if level == "group" else FEW) or look_like_ids(words)


def _nothing_found(path: Path, wanted: str, levels: Mapping[str, str], names: Sequence[str]) -> str:
    other = "".join(f"; '{name}' names the {level}" for name, level in list(levels.items())[:1])
    columns = ", ".join(f"'{name}'" for name in names) or "none"
    return (
        f"--split {wanted} needs a column that names the {wanted} of each image, and {path} has none that is "
        f"known (columns left: {columns}{other}); name it with --group-column, or choose --split image"
    )


def _refuse_empty(path: Path, wanted: str | None, names: list[str]) -> None:
    if wanted is not None:
        raise DataError(
            f"--split {wanted} needs ids, and column '{names[0]}' of {path} holds none that is known"
        )


def _sound(values: pd.Series, name: str, path: Path, similar: SimilarIds) -> pd.Series:
    """The ids of a column, "" where none is known."""
    ids = known_texts(values, is_no_person)
    cut = ids[of_each(is_shortened, ids).astype(bool)]
    if len(cut):
        raise DataError(
            f"{path} has ids in column '{name}' that a spreadsheet has shortened ('{cut.iloc[0]}' in row "
            f"{cut.index[0]}): different ones may look alike; export the column as text, or --ignore-column "
            f"'{name}'"
        )
    if similar == "keep":
        return ids
    if similar == "merge":
        first = dict(reversed([(id_key(word), word) for word in sorted(set(ids))]))
        return of_each(lambda word: first[id_key(word)], ids)
    for one, two in twins((word for word in ids if word), id_key):
        rows = [ids.index[ids == word][0] for word in (one, two)]
        raise DataError(
            f"{path} has ids in column '{name}' that may be one, written differently: '{one}' (row "
            f"{rows[0]}) and '{two}' (row {rows[1]}); correct them, or choose --similar-ids merge or "
            "--similar-ids keep"
        )
    return ids


def _ordered(known: Mapping[str, pd.Series], levels: Mapping[str, str], path: Path) -> list[str]:
    """The columns from the coarsest level to the finest, one of each level.

    What crosses a column between, and lies within the coarsest, is left out: the coarsest holds it together.
    """
    ordered: list[str] = []
    for name in sorted(known, key=lambda name: LEVELS.index(levels[name])):
        if not (known[name] != "").any():
            continue
        crossed = [other for other in ordered if not _fits(known, levels, other, name)]
        if ordered[:1] == crossed[:1] and crossed:
            alike = levels[crossed[0]] == levels[name]
            what = f"divide the {levels[name]}s differently" if alike else "do not lie one within the other"
            raise DataError(
                f"{path} has the columns '{crossed[0]}' and '{name}', which {what}; name the one to keep "
                "together with --group-column, and leave out the other with --ignore-column"
            )
        if not crossed and not any(levels[other] == levels[name] for other in ordered):
            ordered.append(name)
    return ordered


def _fits(known: Mapping[str, pd.Series], levels: Mapping[str, str], coarse: str, fine: str) -> bool:
    """Whether one of two columns divides what the other holds together; of one level both divide alike."""
    one, other = known[coarse], known[fine]
    if levels[coarse] == levels[fine]:
        return is_within(one, other) and is_within(other, one)
    return is_within(other, one) or is_within(one, other)


def is_within(fine: pd.Series, coarse: pd.Series) -> bool:
    """Whether all images of a fine group are of one coarse group, where both are known."""
    both = (fine != "") & (coarse != "")
    return bool((coarse[both].groupby(fine[both]).nunique() <= 1).all())


def _laid_over(layers: Sequence[pd.Series]) -> pd.Series:
    """The coarsest group that is known of each image; one image of a fine group tells it of all."""
    groups, *finer = sorted(layers, key=lambda layer: layer[layer != ""].nunique())
    for number, fine in enumerate(finer, start=2):
        both = (groups != "") & (fine != "")
        told = dict(zip(fine[both], groups[both], strict=True))
        groups = groups.where(groups != "", of_each(lambda word, told=told: told.get(word, ""), fine))
        groups = groups.where((groups != "") | (fine == ""), f"level {number}: " + fine)
    return groups


def _finished(groups: pd.Series, ids: pd.Series, grouping: Grouping) -> tuple[pd.Series, Grouping]:
    """The groups, each image of an unknown one as a group of its own; how many those are is kept."""
    taken, unknown = set(groups), groups == ""
    own = of_each(lambda name: f"image {name}" if name in taken else name, ids)
    return groups.where(~unknown, own), grouping.model_copy(update={"unknown": int(unknown.sum())})


def tell(grouping: Grouping, groups: pd.Series) -> None:
    """Says what the images were grouped by, and what could have been and was not."""
    for line in _told(grouping, groups):
        _log.warning("%s", line)


def _told(grouping: Grouping, groups: pd.Series) -> Iterator[str]:
    if grouping.columns:
        columns = " and ".join(f"'{name}'" for name in grouping.columns)
        largest = int(groups.value_counts().max())
        yield (
            f"groups: {groups.nunique()} by {columns} ({grouping.level}); the largest has "
            f"{numbered(largest, 'image')}"
        )
        if largest > len(groups) / 2:
            yield (
                f"more than half of the images are of one {grouping.level}: where {columns} is no id, leave "
                "it out with --ignore-column"
            )
        yield from code_lines(grouping.level, groups)
    for name in grouping.doubtful:
        yield (
            f"column '{name}' has few values that do not look like ids, and was not used; where its images "
            f"belong together, name it with --group-column '{name}'"
        )
    for name in grouping.empty:
        yield f"column '{name}' holds no known id and was not used"
    if grouping.unknown:
        yield (
            f"{grouping.unknown} of {len(groups)} images {'has' if grouping.unknown == 1 else 'have'} "
            f"no known {grouping.level} (nothing, or a word "
            "such as 'unknown'): each is a group of its own"
        )
    for name in grouping.unused:
        yield (
            f"column '{name}' looks like persons or lesions and was not used: images of one may be in "
            f"training and test; use it with --group-column '{name}', or silence this with --ignore-column "
            f"'{name}'"
        )
    if not grouping.columns and not grouping.unused:
        yield PATIENTS_UNKNOWN
