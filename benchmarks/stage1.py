"""Stage 1: a whole step against the bare passes of its networks, and its data against one resident batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.measure import Row, side_by_side
from benchmarks.plain import as_timm_computes
from lmd import methods
from lmd.data.feed.loader import ImageSet, resident
from lmd.graphed import GraphedStep, Inputs
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.network import Network, Output
from lmd.models.teacher import Teacher
from lmd.runtime import Runtime
from lmd.settings import Tree
from lmd.stages.base import StageContext, Supervised

CLASSES = 8
# Settings, side of the images, steps of an epoch.
FULL: tuple[Tree, int] = ({"encoder": "resnet18", "size": 64, "batch": 128, "precision": "auto"}, 2)
QUICK: tuple[Tree, int] = ({"encoder": "test_resnet", "size": 32, "batch": 16, "precision": "fp32"}, 2)


def rows(runs: int, device: str, quick: bool) -> Iterator[Row]:
    """Yields the rows of stage 1 in docs/speed.md: CE and RRL."""
    common, steps = QUICK if quick else FULL
    if device == "cuda":
        steps *= 10
    for method in ("ce", "lmd"):
        stage = stage_of(method, common, steps, device)
        times = side_by_side(
            device,
            runs,
            ours=lambda stage=stage: stage.run_epoch(0),
            bare=bare_passes(stage),
            timm=bare_passes(as_timm_would(stage)),
            fed=resident_batch(stage),
        )
        name = f"step of stage 1, {method}: {common['encoder']}, {common['batch']} x {common['size']}²"
        ours, floor, timm, fed = (times[key] / steps for key in ("ours", "bare", "timm", "fed"))
        yield Row(name, ours, floor, "the bare passes of its networks", "s", "at most", 1.15)
        yield Row("the same", ours, timm, "those passes with timm's convolutions", "s", "at most", 1.15)
        yield Row(
            "the same", ours, fed, "the same loop fed with one resident batch", "s", "at most", 1 / 0.85
        )


def stage_of(method: str, common: Tree, steps: int, device: str) -> Supervised:
    """Returns the first stage of a method on random images, as many as make so many steps."""
    module = methods.load(method)
    settings = module.Settings.model_validate({**common, "pretrained": False, "stage1": {"epochs": 1000}})
    count = steps * settings.batch
    random = torch.Generator().manual_seed(0)
    shape = (count, 3, settings.size, settings.size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    runtime = Runtime(settings.usable_precision, accelerator=device)
    images = resident(ImageSet(pixels, torch.arange(count) % CLASSES, CLASSES), runtime.device)
    encoder = build_encoder(settings.encoder)
    network = Network(encoder, build_classifier("linear", num_features(encoder), CLASSES, seed=0))
    stage = module.stages(settings, images.counts)[0]
    assert isinstance(stage, Supervised), "CE and RRL are supervised stages"
    network.to(runtime.device)
    stage.prepare(StageContext(network, images, runtime, lambda done, total: None))
    return stage


def bare_passes(stage: Supervised) -> Callable[[], None]:
    """Returns the passes of an epoch alone: each view through the student and back, the teacher's forward.

    The views are made beforehand, the loss is the mean of the outputs; neither optimiser nor teacher moves.
    On a GPU they are one graph, as our step is.
    """
    batches = list(stage.batches(stage.order(0)))
    views = [stage.views(batch, 0) for batch in batches]
    network, runtime = stage.network, stage.context.runtime
    teacher: Teacher | None = getattr(stage, "teacher", None)

    def step(seen: Inputs) -> dict[str, Tensor]:
        with runtime.autocast():
            outputs: list[Output] = [network(images) for images in seen.values()]
            if teacher is not None:
                teacher(seen["weak"])
        network.zero_grad(set_to_none=True)
        loss = torch.stack([output.logits.float().mean() for output in outputs]).sum()
        loss.backward()
        return {"loss": loss}

    replayed = GraphedStep(step, runtime.device, "the bare passes")

    def run() -> None:
        network.train()
        for seen in views:
            replayed(seen)

    return run


def as_timm_would(stage: Supervised) -> Supervised:
    """Returns the stage with networks that compute as timm's do."""
    plain = copy.copy(stage)
    plain.network = as_timm_computes(stage.network)
    if hasattr(stage, "teacher"):
        teacher: Any = copy.copy(stage.teacher)
        teacher.network = as_timm_computes(teacher.network)
        cast("Any", plain).teacher = teacher
    return plain


def resident_batch(stage: Supervised) -> Callable[[], Any]:
    """Returns an epoch of the same loop in which each batch is the first one, already on the device."""
    batches = list(stage.batches(stage.order(0)))
    fed = copy.copy(stage)  # It shares network and optimiser.
    fed.batches = lambda order: iter(batches[:1] * len(batches))
    return lambda: fed.run_epoch(0)
