"""Losses in which the images of a batch meet: two processes give the gradient of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from lmd.methods import cc_sam, cicl, ldam_rs, seesaw
from tests.methods.tiny import stage_of
from tests.processes import on_two

METHODS = {
    "cicl": (cicl, {}, ("first", "second")),
    # Mixup is drawn in each process for its own images.
    # The counts, and the divisor of a weighted mean, are those of all processes.
    "seesaw": (seesaw, {}, ("weak",)),
    "ldam_rs": (ldam_rs, {"rebalance": "drw", "switch": 0.0}, ("weak",)),
    "cc_sam": (cc_sam, {"mixup": 0.0, "radius": 1.0, "flat_ratio": 0.9}, ("weak",)),
}
LABELS = torch.tensor([0, 1, 2, 0, 0, 1, 1, 1])


def gradient(name: str, rows: slice) -> torch.Tensor:
    """The gradient of a stage's loss on some images, BatchNorm at rest so that nothing else couples them."""
    method, changes, views = METHODS[name]
    stage: Any = stage_of(method, stage1=changes)
    stage.network.eval()
    torch.manual_seed(7)
    images = {view: torch.randn(8, 3, 16, 16)[rows] for view in views}
    stage.loss(images, LABELS[rows], 0.0)["total"].backward()
    parameters = stage.trained().parameters()
    return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])


def _worker(rank: int, folder: str) -> None:
    for name in METHODS:
        found = gradient(name, slice(rank * 4, rank * 4 + 4))
        dist.all_reduce(found)
        if rank == 0:
            torch.save(found / 2, f"{folder}/{name}")  # What DDP does.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("processes")
    on_two(_worker, str(path))
    return path


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_give_the_gradient_of_one(name: str, folder: Path) -> None:
    found = torch.load(folder / name, weights_only=True)
    torch.testing.assert_close(found, gradient(name, slice(0, 8)), rtol=1e-3, atol=1e-5)
