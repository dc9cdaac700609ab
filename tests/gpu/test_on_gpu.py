"""What only a GPU can show. They run without the suite's set-up, too: `pytest -m gpu tests/gpu --noconftest`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import lmd
from lmd.data.dataset.sources import phantom
from lmd.evaluation.predict import Model, load_model
from lmd.run import RunFolder
from lmd.runtime import Runtime

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
SETTINGS = [
    "encoder=test_resnet",
    "pretrained=false",
    "size=32",
    "batch=16",
    "stage1.epochs=2",
    "precision=fp32",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gpu") / "data"
    phantom.prepare(phantom.Options(images=40, imbalance=4, val_per_class=3, test_per_class=6, size=40), out)
    return out


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gpu") / "run"
    lmd.train(data, out=out, method="lmd", budget="smoke", settings=SETTINGS)
    return out


def test_a_training_says_which_gpu_it_was_on(run: Path) -> None:
    made = json.loads((run / "environment.json").read_text())
    assert made["gpu"] == torch.cuda.get_device_name()


def test_a_model_answers_on_the_cpu_as_on_the_gpu(run: Path, data: Path) -> None:
    """Tolerance: convolutions of a GPU round to TF32, ten bits of a factor."""
    files = sorted((data / "images").rglob("*.png"))[:24]
    assert files
    model = load_model(RunFolder(run))
    on_cpu = Model(model.network.cpu(), model.card, Runtime("fp32", "cpu"))
    columns = [f"p_{name}" for name in model.classes]
    expected = on_cpu.predict(files)[columns].to_numpy()
    found = load_model(RunFolder(run)).predict(files)[columns].to_numpy()
    assert found.std() > 0
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_the_same_training_ends_with_the_same_weights(run: Path, data: Path, tmp_path: Path) -> None:
    lmd.train(data, out=tmp_path / "again", method="lmd", budget="smoke", settings=SETTINGS)
    first, second = (load_model(RunFolder(path)).network.state_dict() for path in (run, tmp_path / "again"))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_what_is_stopped_and_resumed_is_as_if_nothing_had_been(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lmd.training import loop

    class StopError(Exception):
        pass

    def stop(self: object, done: int, total: int) -> None:
        if done == 2:
            raise StopError

    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_stepped", stop)
        with pytest.raises(StopError):
            lmd.train(data, out=out, method="lmd", budget="smoke", settings=SETTINGS)
    lmd.train(data, out=out, resume=True)
    first, second = (load_model(RunFolder(path)).network.state_dict() for path in (run, out))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
