"""Equations 10-12 against loops, and which way the loss pulls."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from lmd.losses.classification import cross_entropy
from lmd.losses.covariance import shrink
from lmd.losses.distance import prepare_metric
from lmd.losses.distribution import attraction, expectation_loss, repulsion
from lmd.losses.gaussian import class_statistics

DISTANCES = torch.rand(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 5
LABELS = torch.tensor([0, 3, 1, 1, 2, 0])
METRICS = ["precision", "pooled_precision", "diagonal", "euclidean"]


def distribution_consistency(distances: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Psi - Phi, as equation 12 has it."""
    logits = torch.zeros(distances.shape, dtype=distances.dtype)
    return expectation_loss(logits, labels, distances, 1.0).distribution_consistency


def three_classes() -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(60) % 3
    noise = torch.randn(60, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return noise + 4.0 * labels[:, None], labels


def slow_attraction(d: list[list[float]], y: list[int]) -> float:
    return sum(d[i][y[i]] for i in range(len(y))) / len(y)


def slow_repulsion(d: list[list[float]], y: list[int]) -> float:
    total = 0.0
    for i, label in enumerate(y):
        others = [d[i][k] for k in range(len(d[i])) if k != label]
        total += sum(others) / len(others)
    return total / len(y)


def test_equation_10() -> None:
    expected = slow_attraction(DISTANCES.tolist(), LABELS.tolist())
    assert float(attraction(DISTANCES, LABELS)) == pytest.approx(expected, rel=1e-12)


def test_equation_11() -> None:
    expected = slow_repulsion(DISTANCES.tolist(), LABELS.tolist())
    assert float(repulsion(DISTANCES, LABELS)) == pytest.approx(expected, rel=1e-12)


def test_equation_12() -> None:
    """lambda_e (Psi - Phi) plus the cross entropy, from loops over images and classes."""
    logits = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    rows, labels = logits.tolist(), LABELS.tolist()
    slow = sum(math.log(sum(math.exp(s) for s in row)) - row[y] for row, y in zip(rows, labels, strict=True))
    difference = slow_attraction(DISTANCES.tolist(), labels) - slow_repulsion(DISTANCES.tolist(), labels)
    loss = expectation_loss(logits, LABELS, DISTANCES, 0.3)
    assert float(loss.distribution_consistency) == pytest.approx(difference, rel=1e-12)
    assert float(loss.cross_entropy) == pytest.approx(slow / 6, rel=1e-12)
    assert float(loss.total) == pytest.approx(0.3 * difference + slow / 6, rel=1e-12)
    assert float(loss.cross_entropy) == float(cross_entropy(logits, LABELS))


def test_one_class_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="two classes"):
        repulsion(torch.ones(3, 1), torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("metric", METRICS)
def test_classes_absent_from_a_batch_still_repel(metric: str) -> None:
    """A batch of one class: finite, and the absent classes' means enter the loss."""
    features, labels = three_classes()
    gaussians = class_statistics(features, labels, 3)
    batch = features[labels == 0].clone().requires_grad_()

    def loss_with(mean: torch.Tensor) -> torch.Tensor:
        target = shrink(replace(gaussians, mean=mean))
        prepared = prepare_metric(target, metric, torch.float64)  # type: ignore[arg-type]
        return distribution_consistency(prepared.distances(batch), torch.zeros(20, dtype=torch.int64))

    loss = loss_with(gaussians.mean)
    (gradient,) = torch.autograd.grad(loss, batch)
    assert bool(gradient.isfinite().all())
    farther = gaussians.mean.clone()
    farther[2] += 10.0
    assert bool(loss_with(farther) < loss)


def test_gradient() -> None:
    distances = DISTANCES.clone().requires_grad_()
    torch.autograd.gradcheck(lambda d: distribution_consistency(d, LABELS), distances)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("label", [0, 2])
def test_moving_a_feature_to_its_class_mean_lowers_the_loss(metric: str, label: int) -> None:
    """A feature that lies toward the other classes, moved home in five steps."""
    features, labels = three_classes()
    target = shrink(class_statistics(features, labels, 3))
    prepared = prepare_metric(target, metric, torch.float64)  # type: ignore[arg-type]
    home, middle = target.mean[label], target.mean[1]
    path = [home + share * (middle - home) for share in (0.5, 0.4, 0.3, 0.2, 0.1, 0.0)]
    losses = [
        float(distribution_consistency(prepared.distances(z[None]), torch.tensor([label]))) for z in path
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1]


@pytest.mark.parametrize("metric", METRICS)
def test_attraction_is_least_at_the_class_mean(metric: str) -> None:
    features, labels = three_classes()
    target = shrink(class_statistics(features, labels, 3))
    prepared = prepare_metric(target, metric, torch.float64)  # type: ignore[arg-type]
    z = target.mean[labels].clone().requires_grad_()
    value = attraction(prepared.distances(z), labels)
    (gradient,) = torch.autograd.grad(value, z)
    assert float(value.detach()) == pytest.approx(0, abs=1e-12)
    assert float(gradient.abs().max()) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("metric", ["pooled_precision", "euclidean"])
def test_with_one_covariance_for_all_the_loss_is_linear(metric: str) -> None:
    """The quadratic parts of Psi and Phi cancel: nothing then holds a feature at its mean (docs/log.md)."""
    features, labels = three_classes()
    target = shrink(class_statistics(features, labels, 3))
    prepared = prepare_metric(target, metric, torch.float64)  # type: ignore[arg-type]

    def loss(z: torch.Tensor) -> float:
        return float(distribution_consistency(prepared.distances(z), labels))

    halfway = 0.5 * (features + target.mean[labels])
    assert loss(halfway) == pytest.approx(0.5 * (loss(features) + loss(target.mean[labels])), rel=1e-12)
