"""The plan that is told before a training starts: what it says, and that measuring it changes nothing."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lmd import methods
from lmd.data.dataset.manifest import Dataset
from lmd.planning import plan_of_run, settings_for
from lmd.planning.outline import outline
from lmd.planning.rehearsal import _Enough, _Watch, rehearse
from lmd.settings import merge, resolve
from lmd.training.progress import Silent
from lmd.training.start import train
from tests import toy

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "my_method.py")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


def test_it_names_images_steps_and_device(dataset: Dataset) -> None:
    settings = settings_for("lmd", dataset, recipe=toy.LMD, overrides=["stage1.epochs=30"])
    lines = {line.split("  ")[0]: line for line in plan_of_run(dataset, "lmd", settings).lines()}
    assert "57 for training in 3 classes, 5 in the rarest; 15 for validation" in lines["images"]
    assert "16 x 16" in lines["pixels"]
    assert "8 images; no image left out" in lines["batch"]
    assert "30 epochs: 240 steps" in lines["stage 1"]
    # Two iterations of 8 steps; three M-steps of 40 x 3 features in batches of 20.
    assert "3 epochs: 16 steps and 18 steps of the classifier alone" in lines["stage 2"]
    assert "fp32" in lines["device"] or "bf16" in lines["device"]
    assert "on this machine" in lines["time"]
    assert not any(name.startswith("warning") for name in lines)


@pytest.mark.parametrize(("epochs", "warned"), [(24, True), (25, False)])
def test_fewer_than_200_steps_are_warned_of(dataset: Dataset, epochs: int, warned: bool) -> None:
    settings = settings_for("ce", dataset, recipe=toy.COMMON, overrides=[f"stage1.epochs={epochs}"])
    warning = outline(dataset, "ce", settings).warning  # Eight steps an epoch.
    assert (warning is not None) == warned
    assert warning is None or ("192 gradient steps" in warning and "--budget auto" in warning)


def test_a_stage_that_is_taken_over_is_no_part_of_the_plan(dataset: Dataset) -> None:
    settings = settings_for("lmd", dataset, recipe=toy.LMD)
    found = outline(dataset, "lmd", settings, taken_over=True)
    assert [leg.name for leg in found.legs] == ["stage2"]
    assert found.warning is None
    assert "stage 2" in "".join(plan_of_run(dataset, "lmd", settings, True).lines())


@pytest.mark.parametrize("name", [*methods.names(), EXAMPLE])
def test_every_stage_of_every_method_is_rehearsed(dataset: Dataset, name: str) -> None:
    settings = settings_for(name, dataset, recipe=toy.recipe(name))
    paces = rehearse(outline(dataset, name, settings))
    assert paces is not None
    assert len(paces) == len(methods.load(name).stages(settings, dataset.counts("train")))
    assert all(0 < pace.epoch < 60 for pace in paces)


def test_a_rehearsal_leaves_every_generator_and_thread_as_it_was(dataset: Dataset) -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before = (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state(),
        torch.get_num_threads(),
    )
    assert rehearse(outline(dataset, "lmd", settings_for("lmd", dataset, recipe=toy.LMD)))
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert torch.get_num_threads() == before[3]


def test_what_cannot_be_rehearsed_is_not_known_and_no_error(dataset: Dataset) -> None:
    settings = settings_for("lmd", dataset, recipe=merge(toy.LMD, {"encoder": "no_such_encoder"}))
    plan = plan_of_run(dataset, "lmd", settings)
    assert plan.paces is None
    assert any("not known before the first epoch" in line for line in plan.lines())


def test_a_training_that_is_rehearsed_has_the_same_weights(dataset: Dataset, tmp_path: Path) -> None:
    class Rehearsing(Silent):
        def planned(self, plan) -> None:
            assert plan.seconds

    settings = resolve(methods.load("lmd").Settings, toy.LMD)
    weights = [
        train(dataset, "lmd", settings, tmp_path / str(number), progress=progress).weights.read_bytes()
        for number, progress in enumerate((Silent(), Rehearsing()))
    ]
    assert weights[0] == weights[1]


def test_the_estimate_is_of_the_right_size(dataset: Dataset, tmp_path: Path) -> None:
    """Within a factor of five of what a training of some seconds takes; the machine may be busy."""
    settings = resolve(methods.load("ce").Settings, merge(toy.COMMON, {"stage1": {"epochs": 60}, "size": 32}))
    estimate = plan_of_run(dataset, "ce", settings).seconds
    assert estimate is not None
    start = time.perf_counter()
    train(dataset, "ce", settings, tmp_path / "run")
    assert estimate / 5 < time.perf_counter() - start < estimate * 5 + 2


def test_steps_that_are_told_together_share_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The M-step tells of a block of steps at a time."""
    moments = iter([0.0, 0.7, 1.1, 1.5])
    monkeypatch.setattr("lmd.planning.rehearsal.time.perf_counter", lambda: next(moments))
    watch = _Watch()
    watch.step(7, 12)
    watch.step(12, 12)  # 5 steps in 0.4 seconds, the end of an epoch.
    with pytest.raises(_Enough):
        watch.step(8, 12)  # 8 steps in 0.4 seconds.
    assert watch.seconds() == pytest.approx((0.4 / 5 + 0.4 / 8) / 2)
