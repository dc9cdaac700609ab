"""Prints the bytes that one task needs, alone in its process: `python -m benchmarks.memory TASK DEVICE`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.icc import published_m_step
from benchmarks.measure import peak_memory
from benchmarks.problem import (
    FULL,
    QUICK,
    Size,
    features_of,
    gaussians_of,
    geometric,
    m_step_of,
    regularised,
)
from lmd.losses.distance import prepare_metric
from lmd.losses.exact import ExpectedCrossEntropy, quasi_normal
from lmd.losses.gaussian import ClassMoments
from lmd.losses.virtual import VirtualFeatures


def sampled(size: Size, device: str) -> Callable[[], Any]:
    """The M-step as the package runs it."""
    gaussians, m_step = gaussians_of(size.counts, size.channels, device), m_step_of(size, device)
    return lambda: m_step.fit(regularised(gaussians), 0)


def published(size: Size, device: str) -> Callable[[], Any]:
    """The M-step as published."""
    return published_m_step(size, gaussians_of(size.counts, size.channels, device), device)


def draws(size: Size, device: str, per_class: int) -> Callable[[], Any]:
    """The M-step with another R."""
    gaussians = gaussians_of(size.counts, size.channels, device)
    m_step = m_step_of(size, device, virtual_per_class=per_class)
    return lambda: m_step.fit(regularised(gaussians), 0)


def statistics(size: Size, device: str, images: int) -> Callable[[], Any]:
    """The statistics of N images that arrive in batches."""
    num_classes = len(size.counts)
    moments = ClassMoments(num_classes, size.channels, device)
    batch, _ = features_of((64,) * num_classes, size.channels)
    batch = batch.to(device)

    def run() -> None:
        random = torch.Generator(device).manual_seed(0)
        for start in range(0, images, 64 * num_classes):
            rows = batch[: images - start]
            labels = torch.randint(num_classes, (len(rows),), generator=random, device=device)
            moments.add(rows + start, labels)
        moments.gaussians()

    return run


def large(size: Size, device: str, draws: int = 128) -> Callable[[], Any]:
    """All parts of stage 2 with K=1000 and C=2048 (and the counts of a long tail, from 1,280 to 5)."""
    num_classes, channels = (1000, 2048) if size is FULL else (50, 64)
    counts = geometric(1280 if size is FULL else 40, 5, num_classes)

    def run() -> None:
        moments = ClassMoments(num_classes, channels, device)
        random = torch.Generator(device).manual_seed(0)
        for label, count in enumerate(counts):
            rows = torch.randn(count, channels, generator=random, device=device)
            moments.add(rows, torch.full((count,), label, device=device))
        gaussians = regularised(moments.gaussians())
        del moments
        next(VirtualFeatures(gaussians).stream(352, 352, random))
        batch = torch.randn(128, channels, generator=random, device=device).requires_grad_()
        prepare_metric(gaussians).distances(batch).mean().backward()
        objective = ExpectedCrossEntropy(gaussians, quasi_normal(num_classes - 1, draws, 0))
        weight = 0.01 * torch.randn(num_classes, channels, generator=random, device=device)
        objective(weight, torch.zeros(num_classes, device=device))

    return run


TASKS: dict[str, Callable[..., Callable[[], Any]]] = {
    "sampled": sampled,
    "published": published,
    "draws": draws,
    "statistics": statistics,
    "large": large,
}


def main(arguments: list[str]) -> None:
    """Prepares a task, runs it and prints its peak."""
    quick = "--quick" in arguments
    task, device, *numbers = [argument for argument in arguments if argument != "--quick"]
    run = TASKS[task](QUICK if quick else FULL, device, *map(int, numbers))
    print(json.dumps({"task": task, "bytes": peak_memory(device, run)}))


if __name__ == "__main__":
    main(sys.argv[1:])
