"""A loss that looks at the whole batch is the same on two processes as on one, for every method that has such a one."""

from __future__ import annotations

from inspect import isfunction
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from lmd import methods
from lmd.data.feed.loader import ImageSet
from lmd.models.classifier import LinearClassifier
from lmd.models.network import Network
from lmd.processes.shares import Share
from lmd.runtime import Runtime
from lmd.settings import merge
from lmd.stages.base import StageContext, Supervised
from lmd.stages.divided import Divided
from tests import toy
from tests.processes import on_two

ROWS, SIZE, CHANNELS = 8, 8, 6


class Encoder(nn.Module):
    """Two layers without BatchNorm, whose statistics of half a batch are others."""

    def __init__(self) -> None:
        super().__init__()
        self.num_features = CHANNELS
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 10), nn.ReLU(), nn.Linear(10, CHANNELS)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def images() -> ImageSet:
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.integers(0, 255, (ROWS, 3, SIZE, SIZE), dtype=np.uint8))
    return ImageSet(pixels, torch.tensor([0, 1, 0, 2, 1, 0, 2, 0]), 3)


def uses(code: CodeType, name: str) -> bool:
    """Whether a function, or one inside of it, uses a global name."""
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return name in code.co_names or any(uses(part, name) for part in inner)


def gathers(stage: object) -> bool:
    """Whether a method of a stage exchanges rows between processes."""
    kinds = [kind for kind in type(stage).__mro__ if kind not in (Supervised, Divided)]
    functions = [part for kind in kinds for part in vars(kind).values() if isfunction(part)]
    return any(uses(part.__code__, "gather") for part in functions)


def coupled_stages() -> list[tuple[str, int]]:
    """The stages, as (method, number), whose loss is of the whole batch."""
    found = []
    for name in methods.names():
        for number, stage in enumerate(stages_of(name)):
            if isinstance(stage, Supervised) and gathers(stage):
                found.append((name, number))
    return found


def stages_of(name: str) -> list[Any]:
    """A method's stages."""
    recipe = merge(toy.recipe(name), {"size": SIZE, "batch": ROWS})
    settings = methods.settings_of(name, recipe=recipe)
    return methods.load(name).stages(settings, np.array([4, 2, 2]))


def gradients(name: str, number: int, share: Share) -> dict[str, Tensor]:
    """The gradient of a stage's loss on a share of the rows, once the teachers are off the student."""
    stage, data = stages_of(name)[number], images()
    torch.manual_seed(1)
    network = Network(Encoder(), LinearClassifier(CHANNELS, 3, seed=0))
    stage.prepare(StageContext(network, data, Runtime(), lambda done, total: None, data))
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    stage.set_mode()
    stage.share = share
    batch = next(iter(stage.batches(share.of(np.arange(ROWS)))))
    torch.manual_seed(3)
    stage.loss(stage.views(batch, 0), batch.labels, 25.0)["total"].backward()
    modules = {"trained": stage.trained(), "network": network}
    return {
        f"{part}.{key}": parameter.grad
        for part, module in modules.items()
        for key, parameter in module.named_parameters()
        if parameter.grad is not None
    }


def _worker(rank: int, folder: str, stages: list[tuple[str, int]]) -> None:
    torch.set_num_threads(1)
    for name, number in stages:
        share = Share(ROWS, rank, 2)
        found = {key: gradient.clone() for key, gradient in gradients(name, number, share).items()}
        for gradient in found.values():
            dist.all_reduce(gradient)
            gradient /= 2  # What DDP does.
        if rank == 0:
            torch.save(found, f"{folder}/{name}-{number}")


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the averaged gradients of all such stages, from one pair of processes."""
    folder = tmp_path_factory.mktemp("gradients")
    on_two(_worker, str(folder), coupled_stages())
    return folder


def test_the_losses_of_whole_batches_are_found() -> None:
    found = {name for name, _ in coupled_stages()}
    assert {"lmd", "rrl-crt", "rrl-logit-adjustment"} <= found
    assert "ce" not in found


@pytest.mark.parametrize(("name", "number"), coupled_stages())
def test_two_processes_give_the_gradient_of_one(name: str, number: int, averaged: Path) -> None:
    alone = gradients(name, number, Share(ROWS))
    together = torch.load(averaged / f"{name}-{number}", weights_only=True)
    assert alone.keys() == together.keys()
    if name == "lmd-code":  # The authors' code keeps 1/W of the relations' gradient (docs/paper.md, row 4).
        assert any(not torch.allclose(together[key], alone[key], rtol=1e-3) for key in alone)
        return
    for key, gradient in alone.items():
        torch.testing.assert_close(together[key], gradient, rtol=1e-4, atol=1e-6, msg=f"{name}: {key}")
