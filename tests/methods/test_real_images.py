"""Every method on real dermoscopy images, through the command: killed without warning, resumed, asked."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from lmd import methods
from lmd.data.dataset.manifest import Dataset, read_dataset, write_dataset
from lmd.run import RunFolder
from lmd.settings import merge
from tests import toy
from tests.methods.test_contract import EXAMPLE, same, weights_of

pytestmark = pytest.mark.slow
REAL: dict[str, Any] = {"encoder": "resnet18", "size": 64, "batch": 32, "precision": "auto"}
# Of each class in validation and test, and in training of the first class; each further class has four less.
FEW, MOST = 6, 36


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "lmd", *map(str, arguments)]


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A few images of each class and split of ISIC 2019, lesions kept together, fewer of each further class."""
    folder = tmp_path_factory.mktemp("isic")
    prepare = ("prepare", "isic2019", "--root", shared / "isic2019", "--allow-missing", "--split", "lesion")
    subprocess.run(command(*prepare, "--out", folder / "all"), check=True, capture_output=True)
    everything = read_dataset(folder / "all")
    table = everything.table
    kept = MOST - 4 * table["label"].map(everything.classes.index)
    few = table[table.groupby(["split", "label"]).cumcount() < kept.where(table["split"] == "train", FEW)]
    return write_dataset(folder / "few", few.reset_index(drop=True), everything.info)


@pytest.mark.parametrize("name", [*methods.names(), EXAMPLE], ids=lambda name: Path(name).stem)
def test_killed_and_resumed_on_real_images(name: str, real: Dataset, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"method": name, **merge(toy.recipe(name), REAL)}))
    whole, broken = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "broken")
    train = ("train", real.folder, "--recipe", recipe, "--out")
    subprocess.run(command(*train, whole.path), check=True, capture_output=True)
    kill_after_an_epoch(command(*train, broken.path), broken)
    assert not broken.weights.exists()
    subprocess.run(command(*train, broken.path, "--resume"), check=True, capture_output=True)
    assert same(weights_of(whole), weights_of(broken))

    subprocess.run(command("evaluate", broken.path), check=True, capture_output=True)
    bacc = json.loads(broken.evaluation("test").read_text())["metrics"]["bacc"]
    assert 0.0 <= bacc["low"] <= bacc["value"] <= bacc["high"] <= 1.0
    answers = tmp_path / "answers.csv"
    files = real.paths()[:3]
    subprocess.run(command("predict", broken.path, *files, "--out", answers), check=True, capture_output=True)
    with answers.open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 3
    for row in rows:
        assert sum(float(row[f"p_{label}"]) for label in real.classes) == pytest.approx(1.0)


def kill_after_an_epoch(train: list[str], folder: RunFolder) -> None:
    """Kills a training as soon as it has saved its first epoch."""
    process = subprocess.Popen(train, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not folder.metrics.exists():
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
