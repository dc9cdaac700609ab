"""Stages on a few images that never touch a disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from lmd.data.feed.loader import ImageSet
from lmd.files import load_tree, save_tree
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.network import Network, batch_norms
from lmd.runtime import Runtime
from lmd.settings import merge, resolve
from lmd.stages.base import Stage, StageContext
from tests.toy import COMMON

# A class of one image, and a batch of 8 that cannot hold every class each time.
COUNTS = (20, 7, 1)


def images(counts: tuple[int, ...] = COUNTS, seed: int = 0) -> ImageSet:
    """Noisy images whose brightness tells the class, not quite surely."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(labels), 3, 16, 16, generator=generator) * 50
    pixels = (90 + 40 * labels.view(-1, 1, 1, 1) + noise).clamp(0, 255).to(torch.uint8)
    return ImageSet(pixels, labels, len(counts))


def network(num_classes: int = 3) -> Network:
    """A new network, the same each time."""
    torch.manual_seed(0)
    encoder = build_encoder("test_resnet")
    for layer in batch_norms(encoder):
        # timm starts the last scale of a block at 0: no gradient would reach the block's weights.
        torch.nn.init.ones_(layer.weight)
    return Network(encoder, build_classifier("linear", num_features(encoder), num_classes, 0))


def stage_of(
    method: ModuleType,
    number: int = 0,
    counts: tuple[int, ...] = COUNTS,
    val: ImageSet | None = None,
    **changes: Any,
) -> Any:
    """A prepared stage of a method, on images of the given counts."""
    train = images(counts)
    settings = resolve(method.Settings, merge(COMMON, changes))
    stage = method.stages(settings, train.counts)[number]
    stage.prepare(StageContext(network(len(counts)), train, Runtime(), lambda done, total: None, val))
    return stage


def weights(module: Any) -> Tensor:
    """All parameters and buffers of a module, in a row."""
    return torch.cat([value.detach().double().flatten() for value in module.state_dict().values()])


def resumed_equals_whole(make: Callable[[], Any], folder: Path) -> None:
    """Two epochs, and the same two with a checkpoint between them, give the same bits."""
    whole, first, second = make(), make(), make()
    for epoch in range(2):
        expected = whole.run_epoch(epoch)
    first.run_epoch(0)
    save_tree(folder / "state", {"network": first.network.state_dict(), "stage": first.state_dict()})
    saved = load_tree(folder / "state")
    # What the trainer does: the network's weights are there before and after `prepare`.
    second.network.load_state_dict(saved["network"])
    second.prepare(second.context)
    second.network.load_state_dict(saved["network"])
    second.load_state_dict(saved["stage"])
    assert second.run_epoch(1) == expected
    assert torch.equal(weights(second.network), weights(whole.network))
    assert bool(torch.isfinite(weights(whole.network)).all())


def first_gradient(stage: Any) -> Tensor:
    """The gradient of the first step: one step, because BatchNorm makes rounding errors grow with each."""
    torch.manual_seed(0)
    stage.set_mode()
    batch = next(stage.batches(stage.order(0)))
    stage.loss(stage.views(batch, 0), batch.labels, 0.0)["total"].backward()
    return torch.cat([parameter.grad.flatten() for parameter in stage.network.parameters()])


def falls(stage: Stage, term: str = "total", epochs: int = 5) -> bool:
    """Whether a loss term is lower in the last epoch than in the first."""
    losses = [stage.run_epoch(epoch)[term] for epoch in range(epochs)]
    return losses[-1] < losses[0]
