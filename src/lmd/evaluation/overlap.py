"""Whether a model is measured on images, or on patients, that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.data.dataset.spelling import id_key
from lmd.data.decode.cache import open_cache, read_as
from lmd.errors import DataError, LmdError
from lmd.evaluation.results import Overlap
from lmd.evaluation.seen import Hashes, SeenImages, hashes_of, read_seen, seen_in_training
from lmd.model_card import ModelCard
from lmd.run import RunFolder, read_identity

_UNKNOWN = (
    "this run keeps no image hashes (an earlier version made it), and its training images are not at hand: "
    "it is not known which of these images were trained on"
)


@dataclass(frozen=True)
class Trained:
    """What is known of the images that a run was trained on; None where it is not."""

    seen: SeenImages | None
    dataset: Dataset | None


def is_own(dataset: Dataset, card: ModelCard) -> bool:
    """Returns whether this is the data set that the model was trained on, wherever it lies."""
    return dataset.info.manifest_sha256 == card.dataset.manifest_sha256


def overlap_with_training(
    run: RunFolder, card: ModelCard, dataset: Dataset, split: str, pixels: np.ndarray, allow: bool
) -> Overlap | None:
    """Returns how much of a split the run was trained on; None for its own training or validation images.

    Of the run's own data set `prepare` made the test split: copies in it are counted and never refused.

    Raises:
        DataError: images or groups of another data set were trained on, and that is not allowed.
    """
    own = is_own(dataset, card)
    if own and split != "test":
        return None
    trained = _trained(run, card, dataset if own else None, pixels)
    rows = dataset.split(split)
    before = None if trained.seen is None else _copies(trained.seen, hashes_of(dataset, pixels, split)[0])
    found = _counted(before, rows, trained.dataset)
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
    dataset = own or _training_set(run, card)
    seen = read_seen(run)
    if seen is None and dataset is not None:
        seen = _hashed(dataset, card, pixels if own else None)
    return Trained(seen, dataset)


def _training_set(run: RunFolder, card: ModelCard) -> Dataset | None:
    """The data set that a run was trained on, where it still lies where it lay."""
    try:
        dataset = read_dataset(Path(read_identity(run)["data"]), check_files=False)
    except LmdError:
        return None
    return dataset if is_own(dataset, card) else None


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
    """Which images are training images, and which of the others are validation images: [2, N]."""
    in_train = _among(seen.train, mine)
    return np.stack([in_train, _among(seen.val, mine) & ~in_train])


def _among(seen: Hashes, mine: Hashes) -> np.ndarray:
    files, pixels = set(seen.files), set(seen.pixels)
    pairs = zip(mine.files, mine.pixels, strict=True)
    return np.array([file in files or shown in pixels for file, shown in pairs], dtype=bool)


def _counted(before: np.ndarray | None, rows: pd.DataFrame, trained: Dataset | None) -> Overlap:
    """What is shared with the training: images where they are known, groups where they can be compared."""
    images, validation = (None, None) if before is None else map(int, before.sum(1))
    names = _named_groups(rows)
    groups = len(names & _groups_of_training(trained)) if names and trained is not None else None
    note = _note(images, validation, len(rows), groups)
    if names and trained is None:
        note += "; groups (patients, lesions) were not compared, because the training folder is not at hand"
    return Overlap(images=images, validation=validation, of=len(rows), groups=groups, note=note)


def _groups_of_training(trained: Dataset) -> set[str]:
    return _named_groups(trained.table[trained.table["split"] != "test"])


def _named_groups(rows: pd.DataFrame) -> set[str]:
    """The groups, however they are written; an image that is a group by itself names nobody."""
    return set(map(id_key, rows["group"][rows["group"] != rows["id"]]))


def _note(images: int | None, validation: int | None, of: int, groups: int | None) -> str:
    """What was found, in words."""
    parts: list[str] = []
    if images:
        parts.append(f"{images} of {of} images were trained on")
    if validation:
        parts.append(
            f"{validation} {'more' if images else f'of {of} images'} are validation images of the run"
        )
    if groups:
        parts.append(f"{groups} groups (patients, lesions) are also in training or validation")
    if parts:
        parts = [f"{', '.join(parts)}: the result is better than on new images"]
    if images is None:
        return "; ".join([*parts, _UNKNOWN])
    return parts[0] if parts else f"none of the {of} images is a training or validation image"
