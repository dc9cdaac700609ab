"""Freezing, in every method: what is frozen stays bit for bit, the rest learns, and resuming changes nothing."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lmd import methods
from lmd.data.dataset.manifest import Dataset
from lmd.errors import SettingsError
from lmd.models.encoder import build_encoder
from lmd.run import RunFolder
from lmd.runtime import derive_seed
from lmd.settings import CommonSettings, merge
from lmd.training.progress import Silent
from lmd.training.start import train
from tests import toy

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "my_method.py")
NAMES = [*methods.names(), EXAMPLE]
# What begins the names of the encoder's frozen tensors, BatchNorm's statistics among them.
FROZEN = {"stem": ("encoder.conv1.", "encoder.bn1."), "all": ("encoder.",)}
REFUSED = {("cicl", "all"): "nothing to train", ("bn-control", "all"): "statistics that bn-control"}
CASES = [(name, which) for name in NAMES for which in FROZEN if (name, which) not in REFUSED]
# Stages that other methods are made of; the other methods with a frozen stem are a slow test.
QUICK = {"ce", "cicl", "fcd", "lmd", EXAMPLE}
case = pytest.mark.parametrize(
    ("name", "which"),
    [
        pytest.param(*one, marks=[pytest.mark.slow] if one[1] == "stem" and one[0] not in QUICK else [])
        for one in CASES
    ],
    ids=lambda value: Path(value).stem,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


def settings_of(name: str, which: str) -> CommonSettings:
    own = {"freeze": which, "select": "last", "stage1": {"optimisation": {"weight_decay": 0.01}}}
    return methods.settings_of(name, recipe=merge(toy.recipe(name), own))


def start(settings: CommonSettings) -> dict[str, Tensor]:
    """The encoder as a run draws it."""
    torch.manual_seed(derive_seed(settings.seed, "encoder"))
    encoder = build_encoder(settings.encoder, size=settings.size)
    return {f"encoder.{name}": value for name, value in encoder.state_dict().items()}


class Snapshots(Silent):
    """Copies the run folder after each epoch."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def finished(self, record: dict[str, Any]) -> None:
        shutil.copytree(self.out, self.out.parent / f"{record['stage']}-{record['epoch']}")


def moved(before: dict[str, Tensor], folder: RunFolder) -> set[str]:
    after = load_file(folder.weights)
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


@pytest.mark.usefixtures("each_epoch_saved")
@case
def test_frozen_stays_the_rest_moves_and_a_resumed_run_is_the_same(
    name: str, which: str, dataset: Dataset, tmp_path: Path
) -> None:
    settings, out = settings_of(name, which), tmp_path / "run"
    before = start(settings)
    folder = train(dataset, name, settings, out, progress=Snapshots(out))
    frozen = {key for key in before if key.startswith(FROZEN[which])}
    assert frozen
    learning = {key for key in before if key not in frozen and not key.endswith("num_batches_tracked")}
    assert moved(before, folder) & frozen == set()
    assert learning <= moved(before, folder)
    stops = sorted(path for path in tmp_path.iterdir() if path != out)
    assert stops
    for stop in stops:
        again = train(dataset, name, settings_of(name, which), stop, resume=True)
        assert folder.weights.read_bytes() == again.weights.read_bytes(), stop.name


@pytest.mark.parametrize(("name", "which"), REFUSED)
def test_what_leaves_a_method_nothing_to_do_is_refused(name: str, which: str) -> None:
    with pytest.raises(SettingsError, match=REFUSED[name, which]):
        settings_of(name, which)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(
        SettingsError, match="setting freeze = 'body': must be one of 'all', 'stem' or 'none'"
    ):
        settings_of("ce", "body")


def test_lmd_with_a_frozen_encoder_has_no_e_step(dataset: Dataset, tmp_path: Path) -> None:
    folder = train(dataset, "lmd", settings_of("lmd", "all"), tmp_path / "run")
    lines = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    second = [line["losses"] for line in lines if line["stage"] == "stage2"]
    assert len(second) == 3
    assert all(list(losses) == ["maximise"] for losses in second)


def test_random_weights_that_stay_are_a_warning(
    dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        train(dataset, "ce", settings_of("ce", "stem"), tmp_path / "run")
    assert "freeze = stem keeps weights that were drawn at random" in caplog.text
    caplog.clear()
    train(dataset, "ce", settings_of("ce", "none"), tmp_path / "other")
    assert "random" not in caplog.text
