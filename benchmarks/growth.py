"""How the cost of stage 2 grows with N, K, C and R: curves, fitted exponents and a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.icc import objective_of
from benchmarks.measure import side_by_side
from benchmarks.problem import QUICK, Size, features_of, gaussians_of, geometric, m_step_of, regularised
from lmd.losses.gaussian import ClassGaussians, class_statistics


@dataclass(frozen=True)
class Curve:
    """Seconds of a task at several sizes of one quantity."""

    quantity: str
    task: str
    sizes: list[int]
    seconds: list[float]

    @property
    def exponent(self) -> float:
        """The slope of log seconds over log size: 1 is linear, 0 is independent."""
        return float(np.polyfit(np.log(self.sizes), np.log(self.seconds), 1)[0])

    def as_dict(self) -> dict[str, Any]:
        """Returns the curve as JSON values."""
        return {**vars(self), "exponent": self.exponent}


def curves(size: Size, runs: int, device: str) -> Iterator[Curve]:
    """Yields the curves over N, R, K and C."""
    quick = size is QUICK
    images = [400, 800] if quick else [10_000, 20_000, 40_000, 80_000]
    yield _curve("N", "statistics", images, lambda n: _statistics(n, size, device), runs, device)
    per_class = [200, 400] if quick else [6250, 12_500, 25_000, 50_000]
    gaussians = gaussians_of(size.counts, size.channels, device)
    for task, solver in (("M-step, sampled", "sampled"), ("M-step, exact", "exact")):

        def solve(r: int, solver: str = solver) -> Callable[[], Any]:
            return _m_step(replace(size, virtual_per_class=r), gaussians, solver, device)

        yield _curve("R", task, per_class, solve, runs, device)
    classes = [4, 8] if quick else [8, 16, 32, 64, 128]
    yield _curve(
        "K", "one exact gradient", classes, lambda k: _gradient(k, size.channels, device), runs, device
    )
    channels = [16, 32] if quick else [128, 256, 512, 1024, 2048]
    yield _curve("C", "one exact gradient", channels, lambda c: _gradient(8, c, device), runs, device)


def _curve(
    quantity: str,
    task: str,
    sizes: list[int],
    prepare: Callable[[int], Callable[[], Any]],
    runs: int,
    device: str,
) -> Curve:
    tasks = {f"at{n}": prepare(n) for n in sizes}
    times = side_by_side(device, runs, **tasks)
    return Curve(quantity, task, sizes, list(times.values()))


def _statistics(images: int, size: Size, device: str) -> Callable[[], Any]:
    """A long tail of N images in all, arriving at once."""
    tail = np.array(size.counts) / sum(size.counts)
    counts = tuple(max(int(n), 1) for n in tail * images)
    features, labels = (part.to(device) for part in features_of(counts, size.channels))
    return lambda: class_statistics(features, labels, len(counts))


def _m_step(size: Size, gaussians: ClassGaussians, solver: str, device: str) -> Callable[[], Any]:
    """A new M-step each time, so that the exact one has as far to go whatever R is."""
    return lambda: m_step_of(size, device, solver=solver).fit(regularised(gaussians), 0)


def _gradient(num_classes: int, channels: int, device: str) -> Callable[[], Any]:
    """Classes of 2,000 to 20 images."""
    gaussians = gaussians_of(geometric(2000, 20, num_classes), channels, device)
    objective = objective_of(gaussians)
    weight = torch.randn(num_classes, channels, device=device) / channels**0.5
    bias = torch.zeros(num_classes, device=device)
    return lambda: objective(weight, bias)


def draw(found: list[Curve], path: Path) -> None:
    """Draws the curves, one panel for each quantity."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    quantities = list(dict.fromkeys(curve.quantity for curve in found))
    figure = Figure(figsize=(3.2 * len(quantities), 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, quantity in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True):
        for curve in found:
            if curve.quantity == quantity:
                label = f"{curve.task}: exponent {curve.exponent:.2f}"
                axes.loglog(curve.sizes, curve.seconds, marker="o", label=label)
        axes.set_xlabel(quantity)
        axes.set_ylabel("seconds")
        axes.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
