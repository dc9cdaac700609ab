"""A features folder: what a frozen encoder makes of each image of a data set, and the encoder itself.

features.safetensors   features [N, C] in fp32, in the order of manifest.csv
manifest.csv           id, label, split and group of each image; a group is a number
encoder.safetensors    the encoder's weights
images.json            hashes of the training and validation images, without names
features.json          all else, with a checksum of each file; it is written last
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError

from lmd.errors import CheckpointError, DataError, suggest
from lmd.fields import first_fault
from lmd.model_card import Name, Preprocessing, Sha256, TrainedOn
from lmd.models.files import read_tensors
from lmd.seals import DAMAGED, read_sealed_json, sealed_json, sha256_of
from lmd.settings import Count, Settings
from lmd.spreadsheet import guarded_table, unguarded_table

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 2  # The first: a file of ours without a format has no checksum either.
INFO, MANIFEST, FEATURES, ENCODER = (
    "features.json",
    "manifest.csv",
    "features.safetensors",
    "encoder.safetensors",
)
IMAGES = "images.json"
FileName = Literal["manifest.csv", "features.safetensors", "encoder.safetensors", "images.json"]
COLUMNS = ["id", "label", "split", "group"]


class FeaturesInfo(Settings):
    """What features.json says."""

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = FORMAT
    encoder: Name
    channels: Count
    preprocessing: Preprocessing
    precision: Literal["fp32", "bf16"]
    weights: str | None
    """what the encoder's weights were named by; None for timm's own"""
    weights_sha256: str | None
    """hash of that file"""
    classes: list[Name] = Field(min_length=1)
    bands: dict[Name, list[str]]
    bands_rule: str
    counts: dict[str, list[int]]
    """images of each class, by split"""
    dataset: TrainedOn
    data: str
    """the dataset folder"""
    warnings: list[str] = Field(default_factory=list)
    """what is known against the data set"""
    files: dict[FileName, Sha256] = Field(default_factory=dict)
    """hashes of the files beside this one"""


@dataclass(frozen=True)
class Features:
    """A checked features folder."""

    folder: Path
    info: FeaturesInfo
    table: pd.DataFrame
    values: np.ndarray

    @property
    def classes(self) -> list[str]:
        """The class names, in the order of the labels' numbers."""
        return self.info.classes

    def rows(self, split: str) -> np.ndarray:
        """Returns the places of a split's images in the table.

        Raises:
            DataError: there is no such split.
        """
        if split not in self.info.counts:
            raise DataError(f"unknown split '{split}'{suggest(split, self.info.counts)}")
        return np.flatnonzero(self.table["split"].to_numpy() == split)

    def split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns the features [N, C] of a split and the names of their classes [N]: X and y of scikit-learn.

        Raises:
            DataError: there is no such split.
        """
        rows = self.rows(name)
        return self.values[rows], self.table["label"].to_numpy(dtype=str)[rows]

    @cached_property
    def labels(self) -> np.ndarray:
        """The class of each image as a number, in table order."""
        numbers = {name: k for k, name in enumerate(self.classes)}
        return np.array([numbers[name] for name in self.table["label"]], dtype=np.int64)

    def encoder_weights(self) -> dict[str, Tensor]:
        """Returns the tensors of the encoder."""
        return read_tensors(self.folder / ENCODER)


def write_features(
    folder: Path, info: FeaturesInfo, table: pd.DataFrame, values: np.ndarray, encoder: dict[str, Tensor]
) -> None:
    """Writes a features folder into a folder that has its images.json; features.json comes last."""
    import torch
    from safetensors.torch import save_file

    csv: Any = guarded_table(cast("pd.DataFrame", table[COLUMNS])).to_csv(index=False, lineterminator="\n")
    (folder / MANIFEST).write_text(csv, encoding="utf-8")
    save_file({"features": torch.from_numpy(values)}, folder / FEATURES)
    save_file({name: value.detach().cpu().contiguous() for name, value in encoder.items()}, folder / ENCODER)
    files = {name: sha256_of(folder / name) for name in get_args(FileName)}
    tree = info.model_copy(update={"files": files}).model_dump(mode="json")
    (folder / INFO).write_text(sealed_json(tree), encoding="utf-8")


def read_features(folder: Path | str) -> Features:
    """Returns a features folder after checking all of it.

    Raises:
        DataError: this is no features folder, or a file of it was changed, or a feature is not finite.
    """
    folder = Path(folder)
    info = _read_info(folder)
    for name in get_args(FileName):
        _check_file(folder / name, info.files.get(name))
    try:
        table = unguarded_table(pd.read_csv(folder / MANIFEST, dtype=str, keep_default_na=False))
        values = read_tensors(folder / FEATURES)["features"].numpy()
    except (OSError, ValueError, KeyError, CheckpointError) as error:
        raise DataError(f"{folder} is damaged: {error}") from error
    _check_values(folder, info, table, values)
    return Features(folder, info, table, values)


def _read_info(folder: Path) -> FeaturesInfo:
    path = folder / INFO
    if not path.is_file():
        what = "has no features.json" if folder.is_dir() else "is not there"
        raise DataError(f"no features folder: {folder} {what}; make one with 'lmd embed DATA --out FEATURES'")
    try:
        return FeaturesInfo.model_validate(read_sealed_json(path)[0])
    except ValidationError as error:
        raise DataError(f"{path} is damaged: {first_fault(error)}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def _check_file(path: Path, wanted: str | None) -> None:
    try:
        if sha256_of(path) != wanted:
            raise DataError(f"cannot use {path}: {DAMAGED}; copy it anew, or run 'lmd embed' again")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def _check_values(folder: Path, info: FeaturesInfo, table: pd.DataFrame, values: np.ndarray) -> None:
    """Refuses files that do not fit together, and features that no classifier can be fitted to."""
    if values.shape != (len(table), info.channels) or not set(COLUMNS) <= set(table.columns):
        raise DataError(
            f"{folder} is damaged: its features are {values.shape}, its table has {len(table)} rows"
        )
    refuse_not_finite(values, table["id"].to_numpy(), str(folder))


def refuse_not_finite(values: np.ndarray, ids: np.ndarray, where: str) -> None:
    """Refuses features that are not finite numbers.

    Raises:
        DataError: the first such image is named.
    """
    broken = np.flatnonzero(~np.isfinite(values).all(1))
    if len(broken):
        raise DataError(
            f"{where}: the features of {len(broken)} of {len(values)} images are not finite (first: "
            f"'{ids[broken[0]]}'); the encoder's weights do not suit these images: take others"
        )
