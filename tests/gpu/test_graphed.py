"""On a GPU: a replayed step is the step, for every method, and what cannot be recorded runs all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lmd import methods
from lmd.data.dataset.manifest import Dataset
from lmd.data.feed.views import view
from lmd.graphed import EAGER, GraphedStep
from lmd.settings import resolve
from lmd.training.start import train
from tests import toy

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


def run_of(dataset: Dataset, name: str, out: Path, **changes: Any) -> tuple[dict[str, Tensor], list[Any]]:
    settings = resolve(methods.load(name).Settings, {**toy.recipe(name), **changes})
    folder = train(dataset, name, settings, out)
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return load_file(folder.path / "model" / "model.safetensors"), [
        json.loads(line)["losses"] for line in lines
    ]


@pytest.mark.parametrize("name", methods.names())
def test_a_replayed_training_is_the_training(
    dataset: Dataset, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed, losses = run_of(dataset, name, tmp_path / "replayed")
    monkeypatch.setenv(EAGER, "1")
    eager, expected = run_of(dataset, name, tmp_path / "eager")
    assert len(losses) == len(expected)
    for found, wanted in zip(losses, expected, strict=True):
        assert found == pytest.approx(wanted, rel=1e-5, abs=1e-6)
    for key, value in eager.items():
        torch.testing.assert_close(replayed[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["weak", "strong"])
def test_a_view_of_a_gpu_is_that_of_a_cpu(name: str) -> None:
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (128, 3, 64, 64), dtype=torch.uint8, generator=random)
    index = torch.arange(128) + 5
    expected = view(name, pixels, index, 7, 3)
    found = view(name, pixels.cuda(), index, 7, 3).cpu()
    # A border of the distortion may fall on the other side of a pixel.
    off = (found - expected).abs().amax(1) > 1e-3
    assert float(off.float().mean()) < 1e-3


def test_what_cannot_be_recorded_runs_step_by_step(caplog: pytest.LogCaptureFixture) -> None:
    total = torch.zeros((), device="cuda")

    def step(inputs: Any) -> dict[str, Tensor]:
        total.add_(float(inputs["x"].sum()))  # It waits for a number.
        return {"total": total}

    graphed = GraphedStep(step, torch.device("cuda"), "the step")
    for _ in range(6):
        graphed({"x": torch.ones(3)})
    assert float(total) == 18.0
    assert [record.message.startswith("the step runs step by step") for record in caplog.records] == [True]
    assert float(torch.rand(3, device="cuda").sum()) > 0  # The generator of the device works on.


def test_a_replay_sees_new_inputs_and_new_numbers() -> None:
    def step(inputs: Any) -> dict[str, Tensor]:
        return {"total": inputs["x"].sum() * inputs["weight"] + inputs["seed"]}

    graphed = GraphedStep(step, torch.device("cuda"), "the step")
    found = [
        float(graphed({"x": torch.full((2,), float(k)), "weight": 0.5 * k, "seed": k})["total"])
        for k in range(8)
    ]
    assert found == [k * k + k for k in range(8)]
