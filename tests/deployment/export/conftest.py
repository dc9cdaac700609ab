"""A run whose decisions are shifted and whose probabilities are calibrated; its exports, made once each."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import lmd
from lmd.data.dataset.manifest import Dataset
from lmd.deployment.export.about import Export
from lmd.evaluation.predict import Model
from tests import toy

SETTINGS = {**toy.COMMON, "stage1": {"epochs": 1}, "tau": 0.5, "precision": "fp32"}


class Made(NamedTuple):
    """An export and what it says of itself."""

    folder: Path
    told: Export


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    """A finished run and its data set, that no test may write into."""
    place = tmp_path_factory.mktemp("exported")
    dataset = toy.make_dataset(place)
    lmd.train(dataset, method="ce", settings=SETTINGS, out=place / "run")
    return place / "run", dataset


@pytest.fixture(scope="session")
def run(trained: tuple[Path, Dataset]) -> Path:
    return trained[0]


@pytest.fixture(scope="session")
def model(run: Path) -> Model:
    return lmd.load(run)


@pytest.fixture(scope="session")
def files(run: Path) -> list[Path]:
    """Nine image files of all classes."""
    return sorted((run.parent / "images").glob("*.png"))[::10]


@pytest.fixture(scope="session")
def pixels(files: list[Path]) -> torch.Tensor:
    """The same as a network takes them: their size is not its own."""
    small = [Image.open(file).resize((16, 16), Image.Resampling.BILINEAR) for file in files]
    return torch.from_numpy(np.stack([np.asarray(one).transpose(2, 0, 1) for one in small]))


@pytest.fixture(scope="session")
def onnx_export(run: Path) -> Made:
    """With both variants."""
    out = run.parent / "onnx"
    return Made(out, lmd.export(run, out=out, fp16=True, int8=True))


@pytest.fixture(scope="session")
def torch_export(run: Path) -> Made:
    out = run.parent / "torch"
    return Made(out, lmd.export(run, out=out, format="torch"))


@pytest.fixture(scope="session")
def monai_export(run: Path) -> Made:
    out = run.parent / "monai"
    return Made(out, lmd.export(run, out=out, format="monai"))
