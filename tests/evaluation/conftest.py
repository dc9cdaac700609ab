"""A finished run and its data set, which tests of other data sets measure."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import lmd
from lmd.data.dataset.manifest import Dataset
from tests import toy

SETTINGS = {**toy.COMMON, "stage1": {"epochs": 1}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    """A finished run and its data set: 57 training and 15 validation images, each a group by itself."""
    place = tmp_path_factory.mktemp("trained")
    dataset = toy.make_dataset(place)
    lmd.train(dataset, method="ce", settings=SETTINGS, out=place / "run")
    return place / "run", dataset


@pytest.fixture
def run(trained: tuple[Path, Dataset], tmp_path: Path) -> Path:
    """A copy of the run, as each test writes into it."""
    return Path(shutil.copytree(trained[0], tmp_path / "run"))
