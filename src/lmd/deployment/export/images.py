"""The images that an export is verified on: those of the run's data set, named ones, or drawn ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lmd.data.asked import image_files, refuse_missing
from lmd.data.dataset.folds_folder import Folds
from lmd.data.dataset.manifest import Dataset
from lmd.data.dataset.sources.phantom import CLASSES, draw
from lmd.data.decode.images import resize
from lmd.errors import DataError, LmdError
from lmd.evaluation.classes import refuse_other_classes
from lmd.evaluation.judge import recorded
from lmd.evaluation.outputs import read_images
from lmd.folds.evaluate import own_folds
from lmd.folds.folder import FoldsRun
from lmd.model_card import ModelCard, Preprocessing
from lmd.run_folder import RunFolder
from lmd.runtime import derive_seed
from lmd.text import numbered

_log = logging.getLogger(__name__)

MOST = 40  # Images to verify on, in batches of 1, 7 and the rest.
PARTS = (1, 7)
# Validation first: what is verified needs no labels, and the test images can wait.
_SPLITS = ("val", "train", "test")


@dataclass(frozen=True)
class Sample:
    """Some images, uint8 [N, 3, S, S], and what they are in words."""

    pixels: Tensor
    told: str

    def parts(self) -> list[Tensor]:
        """Returns the images in batches of several sizes; there are at least as many as fill two."""
        rest = len(self.pixels) - sum(PARTS)
        return list(self.pixels.split([*PARTS, rest] if rest else list(PARTS)))


def sample_of(card: ModelCard, dataset: Dataset | None, why: str | None, named: Sequence[Path]) -> Sample:
    """Returns the images to verify on: those that are named, else of the data set, else drawn ones.

    Raises:
        DataError: an image cannot be read.
    """
    made = card.preprocessing
    if named:
        files = image_files(named)[:MOST]
        refuse_missing(files)
        told = f"{numbered(len(files), 'image')} named by --images"
        return Sample(_enough(read_images(made, None, False, files).pixels), told)
    if dataset is not None:
        return _of_dataset(made, dataset)
    _log.warning("the export is verified on drawn phantoms, not on real images: %s", why)
    return Sample(_phantoms(made), f"{MOST} drawn phantoms, not on real images")


def _of_dataset(made: Preprocessing, dataset: Dataset) -> Sample:
    split = next(name for name in _SPLITS if not dataset.split(name).empty)
    rows = evenly(dataset, split, MOST)
    words = {"val": "validation", "train": "training", "test": "test"}[split]
    told = f"{numbered(len(rows), f'{words} image')} of {dataset.info.title}"
    return Sample(_enough(pixels_of(made, dataset, rows)), told)


def _enough(pixels: Tensor) -> Tensor:
    """The images, few of them again and again, so that they fill a batch of each size."""
    return pixels[torch.arange(max(len(pixels), sum(PARTS))) % len(pixels)]


def pixels_of(made: Preprocessing, dataset: Dataset, rows: np.ndarray) -> Tensor:
    """Returns the pixels of some rows of a data set's table, decoded from their files as `predict` does."""
    files = [dataset.path(file) for file in dataset.table["file"].to_numpy()[rows]]
    frame = cast("int | None", dataset.info.recipe.get("frame"))
    return read_images(made, frame, False, files).pixels


def evenly(dataset: Dataset, split: str, most: int) -> np.ndarray:
    """Returns rows of a split, the classes in turn, so that rare ones are among them."""
    table = dataset.table[dataset.table["split"] == split]
    turn = table.groupby("label").cumcount().to_numpy()
    return table.index.to_numpy()[np.argsort(turn, kind="stable")[:most]]


def _phantoms(made: Preprocessing) -> Tensor:
    """Drawn images of the model's size."""
    pictures = []
    for number in range(MOST):
        seed = derive_seed("export", number)
        name = CLASSES[number % len(CLASSES)]
        picture = draw(name, str(seed), str(seed), 64, seed=0)
        pictures.append(np.asarray(Image.fromarray(resize(picture, made.size))).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(pictures))


def data_of(
    run: RunFolder, card: ModelCard, data: Dataset | Folds | None
) -> tuple[Dataset | None, str | None]:
    """Returns the data set that is named, else the run's own; or none, and why it cannot be had.

    Of folds it is the first.

    Raises:
        DataError: the data set that is named has a class that the model does not know.
    """
    if data is not None:
        dataset = data.first if isinstance(data, Folds) else data
        refuse_other_classes(dataset, card.classes)
        dataset.paths()
        return dataset, None
    try:
        dataset = own_folds(run, None).first if isinstance(run, FoldsRun) else recorded(run)
        dataset.paths()
    except LmdError as error:
        return None, str(error)
    if dataset.classes != card.classes:
        raise DataError(f"{dataset.folder} has other classes than the model: name another with --data")
    return dataset, None
