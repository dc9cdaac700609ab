"""One, and two processes: the same losses for every method, one run folder, and one end for all."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from benchmarks.doubled import doubled
from lmd import methods, stopping
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.errors import SettingsError
from lmd.methods.lmd_code import CodeRelationLearning
from lmd.models.inference import encode, recalibrate
from lmd.models.network import Network
from lmd.processes.batch_norm import over_processes
from lmd.processes.collectives import average_all
from lmd.processes.shares import Share
from lmd.processes.starters import ALONE, Place
from lmd.run import RunFolder
from lmd.runtime import Runtime
from lmd.settings import CommonSettings
from lmd.stages.base import StageContext
from lmd.stages.relation import RelationLearning
from lmd.training import together
from lmd.training.start import train
from tests import toy
from tests.methods.tiny import images, network
from tests.processes import on_two

# Batches of 7, 7 and 6 images: two processes have 4 and 3 of the first two, and 3 of the last.
COUNTS, RAGGED = (12, 6, 2), {"batch": 7, "last_batch": "even"}
EPOCHS = 1  # Of each stage.


def settings_of(name: str) -> CommonSettings:
    """The toy's settings of a method, with batches that two processes cannot divide evenly."""
    recipe = {**toy.recipe(name), **RAGGED}
    if name == "lmd-code":
        recipe = {**recipe, "stage1": {**recipe["stage1"], "consistency_start": 1e-9}}
    if name == "lmd-plus":  # The exact M-step computes in single precision what does not decide.
        recipe = {**recipe, "m_step": {**toy.LMD["m_step"], "solver": "sampled"}}
    return methods.settings_of(name, recipe=recipe)


def in_double() -> Network:
    """The tiny network in double precision."""
    made = network().double()
    made.encoder.register_forward_pre_hook(lambda module, given: (given[0].double(),))
    return made


def losses(name: str, runtime: Runtime) -> list[float]:
    """All loss terms of some epochs of each stage of a method, in double precision.

    The authors' code keeps 1/W of the relations' gradient (docs/paper.md, row 4): here all of it is kept.
    """
    found: list[float] = []
    whole = mock.patch.object(CodeRelationLearning, "of_all", RelationLearning.of_all)
    with doubled(), over_processes(), whole:
        train_set, made = images(COUNTS), in_double()
        context = StageContext(made, train_set, runtime, lambda done, total: None, images((3, 3, 3), 1))
        for stage in methods.load(name).stages(settings_of(name), train_set.counts):
            stage.prepare(context)
            for epoch in range(min(EPOCHS, stage.epochs)):
                found += stage.run_epoch(epoch).values()
            found.append(float(sum(value.double().abs().sum() for value in made.state_dict().values())))
    return found


def norm() -> tuple[nn.Module, Tensor]:
    """A network with BatchNorm over maps and over vectors, and images whose means are far from 0."""
    torch.manual_seed(3)
    layers = (nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(144))
    return nn.Sequential(*layers, nn.Linear(144, 2)), 30 + 2 * torch.randn(7, 3, 8, 8)


def normed(share: Share) -> list[Tensor]:
    """The gradients and the running statistics after one step on a share of the images."""
    module, data = norm()
    with over_processes():
        share.weighed(module(share.of(data)).square().mean()).backward()
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    average_all(gradients)
    return [*gradients, *(value.double() for value in module.buffers())]


def answers(runtime: Runtime) -> Tensor:
    """What a network says of more than two batches of images, after BatchNorm was estimated again."""
    made, many = network(), images((400, 200, 57))
    with over_processes():
        recalibrate(made, many, runtime, np.arange(len(many.labels)), 219)
    means = torch.cat([value.flatten() for name, value in made.named_buffers() if "mean" in name])
    at_rest = network()
    return torch.cat([encode(at_rest, many, runtime).logits.flatten(), means])


def stopped_late(rank: int, data: str, out: Path) -> None:
    """Trains until the second process is given a signal in the second epoch."""
    asked, calls = stopping.asked, iter(range(10**6))
    if rank == 1:
        stopping.asked = lambda: signal.SIGTERM if next(calls) > 8 else asked()  # type: ignore[assignment]
    settings = methods.settings_of("seesaw", recipe=toy.COMMON)
    with pytest.raises(stopping.Stopped):
        train(read_dataset(Path(data)), "seesaw", settings, out)
    stopping._asked.clear()
    stopping.asked = asked


def _worker(rank: int, folder: str, data: str) -> None:
    torch.set_num_threads(1)
    runtime = Runtime("fp32", "cpu", Place(rank, 2, rank))
    found: dict[str, Any] = {name: losses(name, runtime) for name in methods.names()}
    found["norm"] = normed(runtime.share(7))
    found["answers"] = answers(runtime)
    torch.save(found, f"{folder}/found{rank}")
    place = {"WORLD_SIZE": 2, "RANK": rank, "LOCAL_RANK": rank, "MASTER_PORT": 1, "MASTER_ADDR": "127.0.0.1"}
    os.environ.update({name: str(value) for name, value in place.items()})
    stopped_late(rank, data, Path(folder) / "run")
    dist.barrier()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, data: Dataset) -> Path:
    """What two processes gave, all in one pair of them."""
    path = tmp_path_factory.mktemp("together")
    on_two(_worker, str(path), str(data.folder))
    return path


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    first, second = (torch.load(folder / f"found{rank}", weights_only=True) for rank in range(2))
    for name in methods.names():
        assert first[name] == second[name], name  # Both know the same, bit by bit.
    return first


@pytest.mark.parametrize("name", methods.names())
def test_two_processes_have_the_losses_and_the_weights_of_one(name: str, found: dict[str, Any]) -> None:
    alone = losses(name, Runtime("fp32", "cpu"))
    assert found[name] == pytest.approx(alone, rel=1e-6, abs=1e-9)


def test_batch_norm_of_two_processes_is_that_of_one(found: dict[str, Any]) -> None:
    for one, two in zip(normed(Share(7)), found["norm"], strict=True):
        torch.testing.assert_close(two, one, rtol=1e-5, atol=2e-6)


def test_answers_of_two_processes_are_those_of_one_bit_by_bit(found: dict[str, Any]) -> None:
    alone = answers(Runtime("fp32", "cpu"))
    logits = 657 * 3
    assert torch.equal(found["answers"][:logits], alone[:logits])
    torch.testing.assert_close(found["answers"][logits:], alone[logits:], rtol=1e-3, atol=1e-5)


def test_a_signal_to_the_second_process_stops_both_and_one_goes_on(
    folder: Path, data: Dataset, tmp_path: Path
) -> None:
    """The checkpoint knows nothing of the number of processes."""
    run = folder / "run"
    assert RunFolder(run).checkpoint.is_file()
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 1
    settings = methods.settings_of("seesaw", recipe=toy.COMMON)
    train(data, "seesaw", settings, run, resume=True)
    train(data, "seesaw", settings, tmp_path / "alone")
    records = [
        [json.loads(line)["losses"]["total"] for line in (path / "metrics.jsonl").read_text().splitlines()]
        for path in (run, tmp_path / "alone")
    ]
    assert records[0] == pytest.approx(records[1], rel=1e-3)
    assert json.loads((run / "environment.json").read_text())["resumed"][0]["processes"] == 1


def test_a_batch_has_an_image_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="a batch of 1 image on 2 processes"):
        _ = Share(1, 0, 2).lengths
    monkeypatch.setattr(together, "place", lambda: Place(0, 9))
    with pytest.raises(SettingsError, match="batch = 8 on 9 processes"):
        together.check_batch(settings_of("ce").model_copy(update={"batch": 8}))
    monkeypatch.setattr(together, "place", lambda: ALONE)
    together.check_batch(settings_of("ce").model_copy(update={"batch": 1}))
