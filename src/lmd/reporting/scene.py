"""What the pictures of a report are made from: a model, the images of a split, and its answers to them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from lmd.data.dataset.manifest import Dataset
from lmd.data.decode.cache import open_cache, read_as
from lmd.data.feed.loader import ImageSet
from lmd.errors import DataError
from lmd.evaluation.cases import read_predictions
from lmd.evaluation.leaks.own import training_set
from lmd.evaluation.predict import Model, load_model
from lmd.models.inference import encode
from lmd.reporting.thumbnails import thumbnails
from lmd.run import RunFolder, read_identity

SIDE = 160  # Pixels of a picture, twice what a screen shows.


@dataclass(frozen=True)
class Images:
    """The images of a split, in the order of the table, as a model takes them."""

    model: Model
    dataset: Dataset
    split: str

    @cached_property
    def ids(self) -> list[str]:
        """Their names."""
        return self.dataset.split(self.split)["id"].astype(str).tolist()

    @cached_property
    def files(self) -> list[str]:
        """Their files."""
        return self.dataset.split(self.split)["file"].tolist()

    @cached_property
    def labels(self) -> np.ndarray:
        """Their classes as the model's numbers [N]."""
        number = {name: k for k, name in enumerate(self.model.classes)}
        return np.array([number[name] for name in self.dataset.split(self.split)["label"]], dtype=np.int64)

    @cached_property
    def _cache(self) -> np.ndarray:
        made = self.model.card.preprocessing
        return open_cache(read_as(self.dataset, made.bits), made.size, made.crop)

    def pixels(self, rows: np.ndarray) -> torch.Tensor:
        """The pixels of some images, uint8 [n, 3, S, S]."""
        places = np.flatnonzero(self.dataset.table["split"].to_numpy() == self.split)[rows]
        return torch.from_numpy(np.ascontiguousarray(self._cache[places]))

    def features(self, rows: np.ndarray) -> np.ndarray:
        """The features of some images [n, C]."""
        part = ImageSet(self.pixels(rows), torch.from_numpy(self.labels[rows]), len(self.model.classes))
        return encode(self.model.at_rest, part, self.model.runtime).features.cpu().numpy()

    def thumbnails(self, rows: np.ndarray) -> list[str]:
        """The files of some images as pictures."""
        return thumbnails(self.dataset, [self.files[row] for row in rows], SIDE)


@dataclass(frozen=True)
class Scene:
    """A model, the images that it answered, its answers, and its training images where they are there.

    `decisions` [N, K] are the probabilities that it decided by: `probabilities`, or these shifted by tau.
    """

    model: Model
    images: Images
    probabilities: np.ndarray
    decisions: np.ndarray
    predicted: np.ndarray
    train: Images | None
    seed: int

    @property
    def names(self) -> list[str]:
        """The classes in the model's order."""
        return self.model.classes

    @property
    def bands(self) -> dict[str, str]:
        """The band of each class that has one."""
        return self.model.card.band_of


def scene_of(folder: RunFolder, dataset: Dataset, split: str, other_data: bool) -> Scene:
    """Returns what pictures are made from.

    With `other_data` the run was trained on another data set than this: its training images are those of that
    one, where it still lies where it lay.

    Raises:
        CheckpointError: the run has no finished model.
        DataError: the split was not predicted, or on other images.
    """
    model = load_model(folder)
    images = Images(model, dataset, split)
    table = _answers(folder, images, dataset.info.manifest_sha256 if other_data else "")
    ranking = _columns(table, "p", images)
    shifted = model.card.outputs.differ and f"d_{model.classes[0]}" in table
    decisions = _columns(table, "d", images) if shifted else ranking
    number = {name: k for k, name in enumerate(model.classes)}
    predicted = table["predicted"].map(number).to_numpy(dtype=np.int64)
    own = training_set(folder, model.card) if other_data else dataset
    train = None if own is None else Images(model, own, "train")
    seed = int(read_identity(folder)["settings"].get("seed", 0))
    return Scene(model, images, ranking, decisions, predicted, train, seed)


def _answers(folder: RunFolder, images: Images, on: str) -> pd.DataFrame:
    """The predictions of a split, in the order of its table."""
    file, split = folder.predictions(images.split, on), images.split
    data = f" --data {images.dataset.folder}" if on else ""
    again = f"run 'lmd evaluate {folder.path} --split {split}{data}' first"
    if not file.is_file():
        raise DataError(f"{folder.path} has no {file.name}, and pictures are of its mistakes: {again}")
    table = read_predictions(file).drop_duplicates("id").set_index("id")
    if sorted(table.index) != sorted(images.ids):
        named = f"{again}, or name the data set that was measured with --data DIR"
        raise DataError(f"{file} is not of the {split} images of {images.dataset.folder}: {named}")
    return table.loc[images.ids]


def _columns(table: pd.DataFrame, kind: str, images: Images) -> np.ndarray:
    return table[[f"{kind}_{name}" for name in images.model.classes]].to_numpy(dtype=np.float64)
