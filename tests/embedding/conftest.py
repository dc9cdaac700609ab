"""Features of the toy, and a run on them, made once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import save_file

import lmd
from lmd.data.dataset.manifest import Dataset
from lmd.models.encoder import build_encoder
from tests import toy


class Made(NamedTuple):
    """The toy, the weights of an encoder, the features and a run; nobody changes them."""

    dataset: Dataset
    weights: Path
    features: lmd.Features
    run: lmd.RunFolder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("features")
    dataset, weights = toy.make_dataset(folder), folder / "w.safetensors"
    torch.manual_seed(0)
    save_file(build_encoder("test_resnet", size=16).state_dict(), weights)
    given = {"encoder": "test_resnet", "weights": weights, "size": 16}
    features = lmd.embed(dataset, out=folder / "features", **given)
    run = lmd.fit(features, out=folder / "run", settings={"tau": 0.75})
    return Made(dataset, weights, features, run)
