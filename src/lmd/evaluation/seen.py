"""Which images a run has seen: their hashes, kept in the run folder without any name."""

from __future__ import annotations

import hashlib

import numpy as np
from pydantic import ValidationError

from lmd.data.dataset.manifest import Dataset
from lmd.data.decode.cache import file_hashes
from lmd.errors import CheckpointError
from lmd.fields import first_fault
from lmd.files import atomic_write
from lmd.parallel import in_threads
from lmd.run import RunFolder
from lmd.settings import Settings


class Hashes(Settings):
    """Images as hashes."""

    files: list[str]
    """sha256 of each file"""
    pixels: list[str]
    """sha256 of the pixels as the network takes them: equal for a copy in another lossless format"""


class SeenImages(Settings):
    """The images of a training, sorted by hash: nothing tells which image a hash belongs to."""

    format: int = 1
    train: Hashes
    val: Hashes


def hashes_of(dataset: Dataset, pixels: np.ndarray, *splits: str) -> list[Hashes]:
    """Returns the hashes of the images of each split, in table order.

    `pixels` are those of the whole data set. Each file's hash is known since they were opened.
    """
    files = file_hashes(dataset)

    def of_pixels(row: int) -> str:
        return hashlib.sha256(np.ascontiguousarray(pixels[row]).data).hexdigest()

    rows = [np.flatnonzero(dataset.table["split"].to_numpy() == split).tolist() for split in splits]
    return [Hashes(files=[files[row] for row in some], pixels=in_threads(of_pixels, some)) for some in rows]


def seen_in_training(dataset: Dataset, pixels: np.ndarray) -> SeenImages:
    """Returns the hashes of the images that a training on this data set sees."""
    train, val = map(_sorted, hashes_of(dataset, pixels, "train", "val"))
    return SeenImages(train=train, val=val)


def _sorted(hashes: Hashes) -> Hashes:
    return Hashes(files=sorted(hashes.files), pixels=sorted(hashes.pixels))


def write_seen(run: RunFolder, seen: SeenImages) -> None:
    """Writes the hashes into the run folder."""
    atomic_write(run.images, seen.model_dump_json(indent=0) + "\n")


def read_seen(run: RunFolder) -> SeenImages | None:
    """Returns the hashes that a run keeps; None of a run that an earlier version made.

    Raises:
        CheckpointError: the file is damaged or cannot be read.
    """
    if not run.images.is_file():
        return None
    try:
        return SeenImages.model_validate_json(run.images.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise CheckpointError(f"{run.images} is damaged: {first_fault(error)}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {run.images}: {error}") from error
