"""Stage 2: the M-step, sampled and exact, and FDC, against the published way and the physical limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import limits, reference
from benchmarks.measure import Row, in_fresh_process, side_by_side
from benchmarks.problem import (
    QUICK,
    Size,
    features_of,
    gaussians_of,
    m_step_of,
    new_classifier,
    regularised,
)
from lmd.losses.distance import prepare_metric
from lmd.losses.distribution import attraction, repulsion
from lmd.losses.exact import ExpectedCrossEntropy, Minimum, minimise, quasi_normal
from lmd.losses.gaussian import ClassGaussians, class_statistics, smooth
from lmd.losses.virtual import VirtualFeatures
from lmd.stages.calibration.m_step import DRAWS
from lmd.stages.optimisation import Losses

LR = 0.01
L2 = 0.01  # The setting `m_step.l2`.


def rows(size: Size, runs: int, device: str) -> Iterator[Row]:
    """Yields the rows of stage 2 in docs/speed.md."""
    gaussians = gaussians_of(size.counts, size.channels, device)
    published = published_m_step(size, gaussians, device)
    yield from sampled_rows(size, runs, device, gaussians, published)
    yield gradient_row(size, runs, device, gaussians)
    yield from gradient_error_rows(size, device, gaussians)
    yield from minimum_rows(size, runs, device, gaussians, published)
    yield from distance_rows(size, runs, device)
    yield from memory_rows(size, device)


def published_m_step(size: Size, gaussians: ClassGaussians, device: str) -> Callable[[], float]:
    """Returns a run of the reference's M-step from a new classifier."""
    mean = gaussians.mean.cpu().numpy()
    covariance = regularised(gaussians).covariance.cpu().numpy()
    return lambda: reference.m_step(
        new_classifier(size).to(device),
        mean,
        covariance,
        size.virtual_per_class,
        size.m_step_batch,
        LR,
        device,
    )


def sampled_rows(
    size: Size, runs: int, device: str, gaussians: ClassGaussians, published: Callable[[], float]
) -> Iterator[Row]:
    """The sampled M-step as the package runs it, its time and its memory."""
    m_step = m_step_of(size, device, optimisation={"lr": LR, "weight_decay": 1e-4})

    def ours() -> Losses:
        return m_step.fit(regularised(gaussians), 0)

    floor = limits.sampled_m_step(size, gaussians)
    times = side_by_side(device, runs, ours=ours, floor=floor, slow=published)
    name = f"M-step, sampled: K={len(size.counts)}, C={size.channels}, R={size.virtual_per_class:,}"
    yield Row(name, times["ours"], times["slow"], "the published way", "s", "at least", 8)
    yield Row(name, times["ours"], times["floor"], "its draws and products alone", "s", "at most", 1.5)
    peaks = [in_fresh_process(task, device, quick=size is QUICK) / 1e6 for task in ("sampled", "published")]
    yield Row("the same: extra memory", *peaks, "the published way", "MB", "at least", 20)


def gradient_row(size: Size, runs: int, device: str, gaussians: ClassGaussians) -> Row:
    """One gradient of the exact M-step against the mean gradient over R drawn features of each class."""
    objective, point = objective_of(gaussians), halfway(gaussians)
    source = VirtualFeatures(regularised(gaussians))
    times = side_by_side(
        device,
        runs,
        repeat=20,
        ours=lambda: objective(*point),
        slow=lambda: sampled_gradient(source, point, size, size.virtual_per_class, 0),
    )
    name = f"one exact gradient, {DRAWS} draws"
    return Row(name, times["ours"], times["slow"], "mean over R drawn features", "s", "at least", 1000)


def gradient_error_rows(size: Size, device: str, gaussians: ClassGaussians) -> Iterator[Row]:
    """The relative errors of both gradients, judged by a long run of other draws in double precision."""
    point = tuple(part.double() for part in halfway(gaussians))
    source = VirtualFeatures(regularised(gaussians), torch.float64)
    long = sampled_gradient(source, point, size, size.long_run * size.virtual_per_class, 1)
    sampled = sampled_gradient(source, point, size, size.virtual_per_class, 2)
    _, *exact = objective_of(gaussians)(*(part.float() for part in point))
    errors = [
        float((found - long).norm() / long.norm())
        for found in (torch.cat([part.flatten() for part in exact]).double(), sampled)
    ]
    name = f"relative error of that gradient (long run: {size.long_run} R features of each class)"
    yield Row(name, *errors, "mean over R drawn features", "", "at most", 1)


def objective_of(gaussians: ClassGaussians, draws: int = DRAWS, l2: float = 0.0) -> ExpectedCrossEntropy:
    """Returns the exact M-step's objective as the stage builds it."""
    points = quasi_normal(len(gaussians.mean) - 1, draws, seed=0)
    return ExpectedCrossEntropy(regularised(gaussians), points, l2)


def solve(gaussians: ClassGaussians, start: tuple[Tensor, ...] | None = None, l2: float = L2) -> Minimum:
    """Solves an M-step, the preparation included; from zero where no start is given."""
    zero = torch.zeros_like(gaussians.mean, dtype=torch.float32)
    weight, bias = (zero, zero[:, 0]) if start is None else start
    return minimise(objective_of(gaussians, l2=l2), weight, bias)


def halfway(gaussians: ClassGaussians) -> tuple[Tensor, Tensor]:
    """Returns a classifier halfway between zero and the minimum, where the gradient is not small."""
    found = solve(gaussians)
    return found.weight / 2, found.bias / 2


def sampled_gradient(
    source: VirtualFeatures, point: tuple[Tensor, ...], size: Size, per_class: int, seed: int
) -> Tensor:
    """Returns the mean gradient of eq. 8 over drawn features, drawn in large batches and in closed form."""
    weight, bias = point
    num_classes, batch = len(weight), len(weight) * 2048
    generator = torch.Generator(weight.device).manual_seed(seed)
    total, offset = torch.zeros_like(weight), torch.zeros_like(bias)
    for features in source.stream(per_class * num_classes, batch, generator):
        labels = torch.arange(len(features), device=weight.device) % num_classes
        residual = F.linear(features, weight, bias).softmax(1) - F.one_hot(labels, num_classes)
        total += residual.T @ features
        offset += residual.sum(0)
    return torch.cat([total.flatten(), offset]) / (per_class * num_classes)


def minimum_rows(
    size: Size, runs: int, device: str, gaussians: ClassGaussians, published: Callable[[], float]
) -> Iterator[Row]:
    """The exact M-step solved, from zero and from the classifier of the EM iteration before."""
    now, before = em_loop(size, device)
    start = solve(before)
    warm = (start.weight, start.bias)
    times = side_by_side(
        device, runs, repeat=3, cold=lambda: solve(gaussians), warm=lambda: solve(now, warm), slow=published
    )
    steps = solve(gaussians).evaluations, solve(now, warm).evaluations
    against = "one pass of the published way"
    name = "M-step, exact, solved from zero ({} evaluations)"
    yield Row(name.format(steps[0]), times["cold"], times["slow"], against, "s", "at least", 15)
    name = "M-step, exact, solved in the EM loop ({} evaluations)"
    yield Row(name.format(steps[1]), times["warm"], times["slow"], against, "s", "at least", 60)


def em_loop(size: Size, device: str, iterations: int = 5) -> tuple[ClassGaussians, ClassGaussians]:
    """Returns the smoothed statistics of the last two of some iterations.

    Each draws a class-balanced sample anew, from features that an encoder moved by a hundredth.
    """
    features, labels = (part.to(device) for part in features_of(size.counts, size.channels))
    random = torch.Generator(device).manual_seed(3)
    move = torch.randn(size.channels, size.channels, generator=random, device=device)
    probability = 1.0 / torch.bincount(labels)[labels]
    state: ClassGaussians | None = None
    history: list[ClassGaussians] = []
    for iteration in range(iterations):
        drawn = torch.multinomial(probability, len(labels), replacement=True, generator=random)
        rows, times = drawn.unique(return_counts=True)
        current = class_statistics(features[rows], labels[rows], len(size.counts), times)
        state = smooth(state, current, iteration, 0.999)
        history.append(state)
        features = features + 0.01 * size.channels**-0.5 * features @ move
    return history[-1], history[-2]


def distance_rows(size: Size, runs: int, device: str) -> Iterator[Row]:
    """FDC on one batch, forward and backward, its values, and what its preparation costs."""
    gaussians = regularised(gaussians_of(size.fdc_counts, size.channels, device))
    features, labels = features_of(size.fdc_counts, size.channels, seed=1)
    chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[: size.fdc_batch]
    batch, classes = features[chosen].to(device), labels[chosen].to(device)
    metric, covariance = prepare_metric(gaussians), gaussians.covariance

    def ours() -> tuple[Tensor, Tensor]:
        return _with_gradient(batch, lambda z: consistency(metric.distances(z), classes))

    def slow() -> tuple[Tensor, Tensor]:
        return _with_gradient(
            batch.double(), lambda z: reference.consistency(z, classes, gaussians.mean, covariance)
        )

    floor = limits.distances(batch, gaussians)
    times = side_by_side(
        device, runs, repeat=5, ours=ours, floor=floor, prepare=lambda: prepare_metric(gaussians), slow=slow
    )
    name = f"FDC forward and backward: B={size.fdc_batch}, K={len(size.fdc_counts)}, C={size.channels}"
    yield Row(name, times["ours"], times["slow"], "the published way", "s", "at least", 100)
    yield Row(name, times["ours"], times["floor"], "its products alone", "s", "at most", 3)
    yield Row(
        "FDC, the preparation of an iteration", times["prepare"], times["slow"],
        "one batch of the published way", "s", "at least", 1,
    )  # fmt: skip
    found, expected = metric.distances(batch).double(), reference.distances(
        batch.double(), gaussians.mean, covariance
    )  # fmt: skip
    worst = float(((found - expected) / expected).abs().max())
    yield Row("FDC, largest relative error of a distance", worst, 1e-4, "allowed", "", "at most", 1)
    (_, gradient), (_, wanted) = ours(), slow()
    error = float(((gradient - wanted).norm(dim=1) / wanted.norm(dim=1)).max())
    yield Row("FDC, largest relative error of a gradient", error, 1e-4, "allowed", "", "at most", 1)


def consistency(distances: Tensor, labels: Tensor) -> Tensor:
    """Returns Psi - Phi; see eq. 12."""
    return attraction(distances, labels) - repulsion(distances, labels)


def _with_gradient(batch: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    features = batch.clone().requires_grad_()
    value = loss(features)
    value.backward()
    assert features.grad is not None
    return value.detach(), features.grad


def memory_rows(size: Size, device: str) -> Iterator[Row]:
    """The memory of the statistics as N grows, and of the M-step as R grows: eight times as much of each.

    The allocator alone moves the peak by a tenth from one process to the next.
    """
    for task, letter, start in (("statistics", "N", 20_000), ("draws", "R", 6250)):
        small = start // 100 if size is QUICK else start
        peaks = [in_fresh_process(task, device, n, quick=size is QUICK) / 1e6 for n in (8 * small, small)]
        name = f"extra memory of the {task} at {letter}={8 * small:,}"
        yield Row(name, *(max(peak, 1.0) for peak in peaks), f"at {letter}={small:,}", "MB", "at most", 1.25)
