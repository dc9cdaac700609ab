"""Patients by folders: which folder below the class folder names the patient, and what leaves it open."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from glob import escape
from pathlib import Path, PurePosixPath

import pandas as pd

from lmd.data.dataset.folders.class_folders import SortedImage
from lmd.data.dataset.folders.masks import excluding
from lmd.data.dataset.meaning import grouping
from lmd.data.dataset.meaning.grouping import Grouping, SimilarIds
from lmd.data.dataset.meaning.spelling import id_key, is_shortened, twins
from lmd.data.decode.files import printable
from lmd.errors import DataError
from lmd.text import numbered

_log = logging.getLogger(__name__)


def folder_groups(
    images: Sequence[SortedImage], depth: int | None, similar: SimilarIds, root: Path
) -> tuple[pd.Series, Grouping]:
    """Returns the patient of each image: the folder `depth` folders below its class folder, 1 the first.

    Raises:
        DataError: an image has no folder at that depth; it is not said which of several folders is the
            patient; or two folders may be one patient, written differently.
    """
    names = _named(images, depth or _only_depth(images, root), root)
    if similar == "refuse":
        _refuse_similar(names, images)
    ids = [image.file for image in images]
    column = pd.DataFrame({"folder": names}, index=ids)
    groups, found = grouping.named_groups(
        column, "folder", pd.Series(ids, ids), root, "keep" if similar == "refuse" else similar
    )
    return groups.reset_index(drop=True), found.model_copy(update={"level": "patient"})


def tell_groups(groups: pd.Series, found: Grouping, images: Sequence[SortedImage]) -> None:
    """Says how many patients the folders name, and which of them lie in several folders."""
    for line in (*_told(groups, found), *_told_parents(images, groups)):
        _log.warning("%s", line)


def _only_depth(images: Sequence[SortedImage], root: Path) -> int:
    """The depth 1, where no image lies deeper."""
    deepest = max(images, key=lambda image: image.below.count("/") if image.below else -1)
    if not deepest.below:
        raise DataError(
            f"--group-folders: no image lies in a folder below its class folder in {root}; leave the "
            "option out"
        )
    parts = deepest.below.split("/")
    if len(parts) > 1:
        levels = ", ".join(f"{place} for '{printable(part)}'" for place, part in enumerate(parts, start=1))
        raise DataError(
            f"--group-folders: images lie up to {len(parts)} folders below their class folder (such as "
            f"{printable(deepest.file)}); say which of them is the patient with --group-depth: {levels}"
        )
    return 1


def _named(images: Sequence[SortedImage], depth: int, root: Path) -> list[str]:
    """The name of each image's folder at a depth."""
    names: list[str] = []
    for image in images:
        parts = image.below.split("/") if image.below else []
        if len(parts) < depth:
            short = sum(image.below.count("/") + bool(image.below) < depth for image in images)
            raise DataError(
                f"image {printable(image.file)} in {root} has no folder of a patient: it lies "
                f"{numbered(len(parts), 'folder')} below its class folder, and the patient is folder {depth} "
                f"({numbered(short, 'such image')}); "
                f"move it, or leave it out with {excluding([escape(image.file)])}"
            )
        names.append(parts[depth - 1])
    return names


def _refuse_similar(names: Sequence[str], images: Sequence[SortedImage]) -> None:
    """Refuses names of folders that may be one patient, or that a spreadsheet has shortened."""
    where = {name: image.file for name, image in reversed(list(zip(names, images, strict=True)))}
    cut = next(filter(is_shortened, where), None)
    if cut is not None:
        raise DataError(
            f"the folder '{printable(cut)}' ({printable(where[cut])}) looks like a number that a spreadsheet "
            "has shortened, and may hold several patients; rename it"
        )
    for one, two in twins(where, id_key):
        raise DataError(
            f"the folders '{printable(one)}' and '{printable(two)}' may be one patient, written differently "
            f"({printable(where[one])} and {printable(where[two])}); rename one of them, or choose "
            "--similar-ids merge or --similar-ids keep"
        )


def _told(groups: pd.Series, found: Grouping) -> Iterator[str]:
    largest = groups.value_counts()
    yield (
        f"groups: {groups.nunique()} by folders below the class folders (patient); the largest has "
        f"{numbered(int(largest.max()), 'image')}"
    )
    if largest.max() > len(groups) / 2:
        yield (
            "more than half of the images are of one patient: where that folder is none, name the folder "
            "of the patient with --group-depth, or leave --group-folders out"
        )
    if found.unknown:
        yield (
            f"{found.unknown} of {len(groups)} images {'lies' if found.unknown == 1 else 'lie'} in a "
            "folder that names no patient (such as "
            "'unknown'): each is a group of its own"
        )


def _told_parents(images: Sequence[SortedImage], groups: pd.Series) -> Iterator[str]:
    """Names a patient whose folder lies in several folders of one class: they may be several patients."""
    parents: dict[tuple[str, str], set[str]] = defaultdict(set)
    for image, group in zip(images, groups, strict=True):
        parts = PurePosixPath(image.below).parts
        if group in parts[1:]:
            parents[image.folder, group].add("/".join(parts[: parts.index(group)]))
    several = sum(len(found) > 1 for found in parents.values())
    if several:
        yield (
            f"{numbered(several, 'name of a patient stands', 'names of patients stand')} in several "
            "folders of one class: each name is taken as one patient; where they are several, name a folder "
            "above with --group-depth"
        )
