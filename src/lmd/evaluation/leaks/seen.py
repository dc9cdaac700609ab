"""Which images a run has seen: their hashes, kept in the run folder without any name."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from typing import Annotated

import numpy as np
from pydantic import Field, ValidationError

from lmd.data.dataset.manifest import Dataset
from lmd.data.decode.hashes import file_hashes
from lmd.errors import CheckpointError
from lmd.fields import first_fault
from lmd.files import atomic_write
from lmd.parallel import Steps, in_threads, quiet
from lmd.run import RunFolder
from lmd.seals import read_sealed_json, sealed_json
from lmd.settings import Settings

_log = logging.getLogger(__name__)

FORMAT = 2  # From this one on the file has a checksum.


class Hashes(Settings):
    """Images as hashes."""

    files: list[str]
    """sha256 of each file"""
    pixels: list[str]
    """sha256 of the pixels as the network takes them: equal for a copy in another lossless format"""


class SeenImages(Settings):
    """The images of a training, sorted by hash: nothing tells which image a hash belongs to."""

    format: Annotated[int, Field(ge=1, le=FORMAT)] = FORMAT
    train: Hashes
    val: Hashes
    earlier: Hashes | None = None
    """the images behind the weights that the training began with, where these are those of a run"""

    def everything(self) -> Hashes:
        """Returns the images of training, validation and earlier trainings together."""
        return _united([self.train, self.val, *([self.earlier] if self.earlier else [])])


def hashes_of(dataset: Dataset, pixels: np.ndarray, *splits: str) -> list[Hashes]:
    """Returns the hashes of the images of each split, in table order.

    `pixels` are those of the whole data set. Each file's hash is known since they were opened.
    """

    def of_pixels(row: int) -> str:
        return hashlib.sha256(np.ascontiguousarray(pixels[row]).data).hexdigest()

    parts = zip(files_of(dataset, *splits), (_rows(dataset, split) for split in splits), strict=True)
    return [Hashes(files=files, pixels=in_threads(of_pixels, rows)) for files, rows in parts]


def files_of(dataset: Dataset, *splits: str | None, progress: Steps = quiet) -> list[list[str]]:
    """Returns the hashes of the image files of each split, in table order; None is the whole data set."""
    files = file_hashes(dataset, progress)
    return [[files[row] for row in _rows(dataset, split)] for split in splits]


def _rows(dataset: Dataset, split: str | None) -> list[int]:
    splits = dataset.table["split"].to_numpy()
    return np.flatnonzero((splits == split) | (split is None)).tolist()


def seen_in_training(dataset: Dataset, pixels: np.ndarray) -> SeenImages:
    """Returns the hashes of the images that a training on this data set sees."""
    train, val = map(_sorted, hashes_of(dataset, pixels, "train", "val"))
    return SeenImages(train=train, val=val)


def _sorted(hashes: Hashes) -> Hashes:
    return Hashes(files=sorted(hashes.files), pixels=sorted(hashes.pixels))


def joined(one: SeenImages, other: SeenImages | None) -> SeenImages:
    """Returns the images of two trainings together: of a run and of the run that it started from."""
    if other is None:
        return one
    both = SeenImages(train=_both(one.train, other.train), val=_both(one.val, other.val))
    return begun_with(begun_with(both, one.earlier), other.earlier)


def begun_with(seen: SeenImages, earlier: Hashes | None) -> SeenImages:
    """Returns what a training has seen that began with weights which had seen other images."""
    if earlier is None:
        return seen
    known = [earlier] if seen.earlier is None else [seen.earlier, earlier]
    return seen.model_copy(update={"earlier": _united(known)})


def _united(parts: list[Hashes]) -> Hashes:
    files = {name for part in parts for name in part.files}
    return Hashes(files=sorted(files), pixels=sorted({name for part in parts for name in part.pixels}))


def _both(one: Hashes, other: Hashes) -> Hashes:
    def both(first: list[str], second: list[str]) -> list[str]:
        return sorted((Counter(first) | Counter(second)).elements())

    return Hashes(files=both(one.files, other.files), pixels=both(one.pixels, other.pixels))


def still_seen(run: RunFolder, now: SeenImages) -> SeenImages:
    """Returns the images that an interrupted run began with, if it would go on with the same.

    Raises:
        CheckpointError: the images are others, though they may have the same names.
    """
    kept = read_seen(run)
    if kept is not None and (kept.train.files, kept.val.files) != (now.train.files, now.val.files):
        raise CheckpointError(
            f"{run.path} began with other images: some of the files have changed since, or the data set is "
            "another one with the same names; start the run anew in another folder"
        )
    if kept is not None and not (_within(now.train, kept.train) and _within(now.val, kept.val)):
        _log.warning(
            "%s: the images are decoded otherwise than when it began: its result will not be, bit for bit, "
            "that of a run that nothing stopped",
            run.path,
        )
    return kept or now


def _within(now: Hashes, kept: Hashes) -> bool:
    """Whether all pixels are among those that were kept; what a run started from may have seen more."""
    return not Counter(now.pixels) - Counter(kept.pixels)


def write_seen(run: RunFolder, seen: SeenImages) -> None:
    """Writes the hashes into the run folder."""
    atomic_write(run.images, seen_text(seen))


def seen_text(seen: SeenImages) -> str:
    """Returns the hashes as the text of images.json."""
    return sealed_json(seen.model_dump(mode="json", exclude_none=True) | {"format": FORMAT})


def read_seen(run: RunFolder) -> SeenImages | None:
    """Returns the hashes that a run keeps; None of a run that an earlier version made.

    Raises:
        CheckpointError: the file is damaged or cannot be read.
    """
    if not run.images.is_file():
        return None
    try:
        return SeenImages.model_validate(read_sealed_json(run.images)[0])
    except ValidationError as error:
        raise CheckpointError(f"{run.images} is damaged: {first_fault(error)}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {run.images}: {error}") from error
