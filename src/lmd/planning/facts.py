"""What the rules of a plan look at: the images, their classes and their pixels, and the device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lmd.data.dataset.manifest import Dataset
from lmd.data.decode.files import open_file
from lmd.data.decode.images import decode
from lmd.data.decode.pictures import formats
from lmd.parallel import num_cores
from lmd.runtime import device_kind, main_memory

LOOKED_AT = 16  # Training images whose size is read: their headers alone where Pillow knows the format.


@dataclass(frozen=True)
class Facts:
    """What is known of a data set and of the machine before anything is decoded."""

    images: int  # For training.
    classes: int
    smallest_class: int
    side: int  # The shorter side of most training images, in pixels.
    device: str  # cpu or cuda.
    cores: int
    memory: int | None  # Bytes of main memory; None where the system does not say.


def facts_of(dataset: Dataset, side: int | None = None) -> Facts:
    """Returns the facts of a data set on this machine; a `side` that is given needs no look at the files.

    Raises:
        DataError: an image cannot be read.
    """
    counts = dataset.counts("train")
    return Facts(
        images=int(counts.sum()),
        classes=len(counts),
        smallest_class=int(counts.min()) if len(counts) else 0,
        side=side if side is not None else usual_side(dataset),
        device=device_kind(),
        cores=num_cores(),
        memory=main_memory(),
    )


def usual_side(dataset: Dataset) -> int:
    """Returns the median of the shorter sides of some training images, evenly spread over the table."""
    rows = np.flatnonzero(dataset.table["split"].to_numpy() == "train")
    if not len(rows):
        return 0
    paths = dataset.paths()
    chosen = np.unique(np.linspace(0, len(rows) - 1, LOOKED_AT).round().astype(int))
    recipe = dataset.info.recipe
    sides = [_side(paths[rows[place]], recipe.get("frame"), recipe.get("bits")) for place in chosen]
    return int(np.median(sides))


def _side(path: Path, frame: int | None, bits: int | None) -> int:
    """The shorter side of an image, from its header where Pillow can tell it, else from the whole image."""
    with open_file(path) as file:
        try:
            with Image.open(file, formats=formats(path)) as image:
                return min(image.size)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            pass
    return min(decode(path, frame=frame, bits=bits).shape[:2])
