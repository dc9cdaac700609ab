"""Whether a model is measured on images, or on patients, that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmd.data.dataset.manifest import Dataset
from lmd.data.dataset.meaning.spelling import id_key
from lmd.data.decode.cache import open_cache, read_as
from lmd.errors import DataError, LmdError
from lmd.evaluation.leaks.own import same_manifest, training_set
from lmd.evaluation.leaks.seen import Hashes, SeenImages, hashes_of, joined, read_seen, seen_in_training
from lmd.evaluation.results import Overlap
from lmd.model_card import ModelCard
from lmd.run import RunFolder, read_model_card

_NOT_FOUND = "copies that were resized, or saved again with loss, are not recognised"
_SEEN = "a training or validation image"
_ASSUMED = (
    "this run keeps no image hashes (an earlier version made it): by its manifest alone this is taken for "
    "the run's own data set"
)
_TWIN = "the manifest is that of the run's own data set, but its training images are others"
_UNKNOWN = (
    "this run keeps no image hashes (an earlier version made it), and its training images are not at hand: "
    "it is not known which of these images were trained on"
)


@dataclass(frozen=True)
class Trained:
    """What is known of the images that a run was trained on; None where it is not."""

    seen: SeenImages | None
    groups: set[str] | None
    assumed: bool = False
    """whether the data set that is measured is taken for its own without any proof"""


def overlap_with_training(
    run: RunFolder,
    card: ModelCard,
    dataset: Dataset,
    split: str,
    pixels: np.ndarray,
    *,
    own: bool,
    allow: bool,
    also: Sequence[RunFolder] = (),
) -> Overlap | None:
    """Returns how much of a split the run was trained on; None for its own training or validation images.

    `also` are runs whose models answer together with its own: what one of them has seen counts as seen.

    Of the run's own data set `prepare` made the test split: copies in it are counted and never refused.

    Raises:
        DataError: images or groups of another data set were trained on, and that is not allowed.
    """
    if own and split != "test":
        return None
    trained = _trained(run, card, dataset if own else None, pixels)
    for other in also:
        trained = _together(trained, _trained(other, read_model_card(other), None, pixels))
    rows = dataset.split(split)
    before = None if trained.seen is None else _copies(trained.seen, hashes_of(dataset, pixels, split)[0])
    found = _counted(before, rows, trained)
    if not own and same_manifest(dataset, card):
        found = found.model_copy(update={"note": f"{found.note}; {_TWIN}"})
    if found.any and not own and not allow:
        first = None if before is None else next(iter(rows["id"].to_numpy()[before.any(axis=0)]), None)
        named = "" if first is None else f" (first: {first})"
        raise DataError(
            f"split '{split}' of {dataset.folder}: {found.note}{named}; evaluate other "
            "images, or these all the same with --allow-overlap"
        )
    return found


def _trained(run: RunFolder, card: ModelCard, own: Dataset | None, pixels: np.ndarray) -> Trained:
    """What is known of a run's training: from its hashes, or from its data set where it has none."""
    recorded = training_set(run, card)
    dataset, seen = own or recorded, read_seen(run)
    assumed = own is not None and seen is None and recorded is None
    if seen is None and dataset is not None:
        seen = _hashed(dataset, card, pixels if own else None)
    return Trained(seen, None if dataset is None else groups_of_training(dataset), assumed)


def _together(one: Trained, other: Trained) -> Trained:
    """What is known of two trainings: of images and groups it must be known of both."""
    seen = None if one.seen is None or other.seen is None else joined(one.seen, other.seen)
    groups = None if one.groups is None or other.groups is None else one.groups | other.groups
    return Trained(seen, groups, one.assumed or other.assumed)


def _hashed(dataset: Dataset, card: ModelCard, pixels: np.ndarray | None) -> SeenImages | None:
    """The hashes of a training set; None where its images are gone."""
    try:
        if pixels is None:
            made = card.preprocessing
            pixels = open_cache(read_as(dataset, made.bits), made.size, made.crop)
        return seen_in_training(dataset, pixels)
    except LmdError:
        return None


def _copies(seen: SeenImages, mine: Hashes) -> np.ndarray:
    """Which images are training images, and which of the others are validation images: [2, N].

    An image behind the weights that the training began with is a training image.
    """
    in_train = _among(seen.train, mine)
    if seen.earlier is not None:
        in_train = in_train | _among(seen.earlier, mine)
    return np.stack([in_train, _among(seen.val, mine) & ~in_train])


def _among(seen: Hashes, mine: Hashes) -> np.ndarray:
    files, pixels = set(seen.files), set(seen.pixels)
    pairs = zip(mine.files, mine.pixels, strict=True)
    return np.array([file in files or shown in pixels for file, shown in pairs], dtype=bool)


def _counted(before: np.ndarray | None, rows: pd.DataFrame, trained: Trained) -> Overlap:
    """What is shared with the training: images where they are known, groups where they can be compared."""
    images, validation = (None, None) if before is None else map(int, before.sum(1))
    names, known = named_groups(rows), trained.groups
    groups = len(names & known) if names and known is not None else None
    note = overlap_words(images, validation, len(rows), groups)
    if trained.assumed:
        note += f"; {_ASSUMED}"
    if names and known is None:
        note += "; groups (patients, lesions) were not compared, because the training folder is not at hand"
    return Overlap(images=images, validation=validation, of=len(rows), groups=groups, note=note)


def groups_of_training(trained: Dataset) -> set[str]:
    """Returns the groups that a training on a data set sees."""
    return named_groups(trained.table[trained.table["split"] != "test"])


def named_groups(rows: pd.DataFrame) -> set[str]:
    """Returns the groups, however they are written; an image that is a group by itself names nobody."""
    return set(map(id_key, rows["group"][rows["group"] != rows["id"]]))


def overlap_words(images: int | None, validation: int | None, of: int, groups: int | None) -> str:
    """Returns what was found, in words."""
    parts: list[str] = []
    if images:
        parts.append(f"{images} of {of} images {'was' if images == 1 else 'were'} trained on")
    if validation:
        parts.append(_validation_note(validation, of, more=bool(images)))
    if groups:
        are = "group (patient, lesion) is" if groups == 1 else "groups (patients, lesions) are"
        parts.append(f"{groups} {are} also in training or validation")
    if parts:
        parts = [f"{', '.join(parts)}: the result is better than on new images"]
    if images is None:
        return "; ".join([*parts, _UNKNOWN])
    return parts[0] if parts else f"none of the {of} images is identical to {_SEEN} ({_NOT_FOUND})"


def _validation_note(validation: int, of: int, *, more: bool) -> str:
    among = "more" if more else f"of {of} images"
    is_one = validation == 1
    return f"{validation} {among} {'is a validation image' if is_one else 'are validation images'} of the run"
