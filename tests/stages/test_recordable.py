"""A step that says it can be recorded as a CUDA graph reads no number and copies none from Python.

A GPU finds that out by failing. Here the step is run on a CPU in the form that a GPU is given, its changing
numbers as tensors, and each operation that a recording cannot hold is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import lmd.data.feed.views
import lmd.losses.contrastive
import lmd.models.teacher
from lmd import methods
from lmd.data.feed.loader import ImageSet
from lmd.graphed import _place
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.network import Network
from lmd.runtime import Runtime
from lmd.settings import resolve
from lmd.stages.base import StageContext, Supervised
from tests import toy

COUNTS = np.array([12, 8, 4])
# What waits for a number, or makes a shape of one, or brings a number of Python's to the device.
REFUSED = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "lift_fresh", "bincount", "equal")


class Recording(TorchDispatchMode):
    """Refuses what a recording cannot hold."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in REFUSED:
            raise RuntimeError(f"a recording cannot hold {func}")
        if name in ("index", "index_put", "index_put_"):
            masks = [i for i in args[1] if isinstance(i, Tensor) and i.dtype == torch.bool]
            if masks:
                raise RuntimeError("a recording cannot hold an index by mask")
        return func(*args, **(kwargs or {}))


def stages_of(name: str) -> list[Supervised]:
    method = methods.load(name)
    # Adam reads a number on a CPU, and none on a GPU.
    sgd = {"stage1": {"optimisation": {"optimiser": "sgd"}}} if name == "fs" else {}
    settings = resolve(method.Settings, toy.recipe(name), {"batch": 12, "precision": "fp32"}, sgd)
    found = [stage for stage in method.stages(settings, COUNTS) if isinstance(stage, Supervised)]
    pixels = torch.randint(0, 256, (24, 3, 16, 16), dtype=torch.uint8)
    train = ImageSet(pixels, torch.from_numpy(np.repeat(np.arange(3), COUNTS)), 3)
    encoder = build_encoder(settings.encoder)
    network = Network(encoder, build_classifier("linear", num_features(encoder), 3, seed=0))
    for stage in found:
        stage.prepare(StageContext(network, train, Runtime("fp32"), lambda done, total: None, train))
    return found


def recordable() -> list[str]:
    return [name for name in methods.names() if any(says_so(stage) for stage in stages_of(name))]


def says_so(stage: Supervised) -> bool:
    return bool(vars(type(stage)).get("capturable"))


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (lmd.data.feed.views, lmd.losses.contrastive, lmd.models.teacher):
        monkeypatch.setattr(module, "of_fixed_shapes", lambda tensor: True)
    # On a CPU it looks whether all labels are below K; on a GPU it does not.
    monkeypatch.setattr(
        torch.nn.functional, "one_hot", lambda labels, k: (labels[:, None] == torch.arange(k)).long()
    )


def step_of(stage: Supervised) -> Callable[[], dict[str, Tensor]]:
    """One step after two warm ones, all its numbers as tensors."""
    stage.set_mode()
    epoch = 1
    order = stage.order(epoch) if not hasattr(stage, "active") else np.arange(24)
    batch = next(iter(stage.batches(order)))
    stage.train_step.wanted = True  # As on a GPU: what is drawn is drawn before the step.
    stage.share = stage.context.runtime.share(len(batch.labels))
    now = {"epoch": epoch, "moment": 1.5, **stage.changing(epoch, 1.5)}
    stage._train_step({**batch._asdict(), **now})
    inputs = {name: _place(value, torch.device("cpu")) for name, value in {**batch._asdict(), **now}.items()}
    for name, value in {**batch._asdict(), **now}.items():
        inputs[name].copy_(value) if isinstance(value, Tensor) else inputs[name].fill_(value)
    stage._train_step(inputs)

    def step() -> dict[str, Tensor]:
        with Recording():
            return stage._train_step(inputs)

    return step


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("name", methods.names())
def test_a_step_that_says_so_can_be_recorded(name: str) -> None:
    for stage in stages_of(name):
        if says_so(stage):
            assert all(bool(torch.isfinite(term)) for term in step_of(stage)().values())


def test_all_methods_are_recorded() -> None:
    assert set(methods.names()) - set(recordable()) <= {"bn-control"}
