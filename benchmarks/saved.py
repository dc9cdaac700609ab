"""Saved features of encoders with the labels, splits and groups of their data set, for several benchmarks.

A file `features-<name>.npz` has `0_clean` (uint8 [N, C]) times `0_clean_scale` [C], in the order of the
manifest, and, of an encoder that was trained with a classifier, that classifier's `W` [K, C] and `b` [K]. The
dataset folder is made by `lmd prepare isic2019 --root ISIC_2019 --allow-missing --split lesion --seed 42`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lmd.data.dataset.manifest import Dataset, read_dataset


@dataclass(frozen=True, eq=False)
class Saved:
    """The features of one encoder [N, C], of all images of a data set."""

    name: str
    features: np.ndarray
    dataset: Dataset
    own: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def classifier(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight [K, C] and bias [K] of the encoder's own classifier."""
        assert self.own is not None
        return self.own

    @property
    def logits(self) -> np.ndarray:
        """The logits of the encoder's own classifier [N, K]."""
        weight, bias = self.classifier
        return self.features @ weight.T + bias

    @cached_property
    def labels(self) -> np.ndarray:
        """The class of each image, as a number [N]."""
        number = {name: k for k, name in enumerate(self.dataset.classes)}
        return self.dataset.table["label"].map(number).to_numpy()

    @cached_property
    def groups(self) -> np.ndarray:
        """The group of each image, as a number [N]."""
        return np.unique(self.dataset.table["group"].to_numpy(), return_inverse=True)[1]

    def rows(self, split: str) -> np.ndarray:
        """Which images are of a split [N]."""
        return self.dataset.table["split"].to_numpy() == split

    def of(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns features and labels of a split."""
        return self.features[self.rows(split)], self.labels[self.rows(split)]


def read_saved(dataset: Dataset, path: Path) -> Saved:
    """Returns the features of one file."""
    with np.load(path) as file:
        features = file["0_clean"].astype(np.float32) * file["0_clean_scale"]
        own = (file["W"], file["b"]) if "W" in file else None
    return Saved(path.stem.removeprefix("features-"), features, dataset, own)


def parser(about: str, out: str) -> argparse.ArgumentParser:
    """Returns the options that benchmarks of saved features share."""
    found = argparse.ArgumentParser(description=about.partition("\n")[0])
    found.add_argument("data", type=Path, help="the dataset folder of the features")
    found.add_argument("features", type=Path, nargs="+", help="features-<name>.npz")
    found.add_argument("--out", type=Path, default=Path(f"benchmarks/results/{out}"))
    return found


def all_saved(options: argparse.Namespace) -> list[Saved]:
    """Returns the features of all files that were named; makes the folder for the results."""
    options.out.mkdir(parents=True, exist_ok=True)
    dataset = read_dataset(options.data, check_files=False)
    return [read_saved(dataset, path) for path in options.features]


def write_parts(out: Path, parts: Mapping[str, Iterator[dict[str, Any]]]) -> None:
    """Prints the rows of each part as they come, and writes a JSON file of each."""
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in parts.items():
        found = []
        for row in rows:
            print(row, flush=True)
            found.append(row)
        (out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
