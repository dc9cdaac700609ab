"""The supervised contrastive loss against a loop over anchors and positives."""

from __future__ import annotations

import math

import pytest
import torch

from lmd.losses.contrastive import supervised_contrastive

VIEWS = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 3])  # Classes 2 and 3 are alone.


def by_hand(views: list[list[float]], labels: list[int], t: float) -> float:
    def unit(row: list[float]) -> list[float]:
        return [value / math.sqrt(sum(v * v for v in row)) for value in row]

    h = [unit(row) for row in views]
    e = [[math.exp(sum(a * b for a, b in zip(x, y, strict=True)) / t) for y in h] for x in h]
    anchors = []
    for i, label in enumerate(labels):
        others = [a for a in range(len(h)) if a != i]
        positives = [p for p in others if labels[p] == label]
        if positives:
            total = sum(e[i][a] for a in others)
            anchors.append(-sum(math.log(e[i][p] / total) for p in positives) / len(positives))
    return t / 0.07 * sum(anchors) / len(anchors)


@pytest.mark.parametrize("temperature", [0.07, 0.1, 1.0])
def test_against_loops_where_some_anchors_have_no_positive(temperature: float) -> None:
    expected = by_hand(VIEWS.tolist(), LABELS.tolist(), temperature)
    assert float(supervised_contrastive(VIEWS, LABELS, temperature)) == pytest.approx(expected, rel=1e-12)


def test_the_length_of_a_projection_does_not_matter() -> None:
    longer = VIEWS * torch.arange(1, 8).view(-1, 1)
    torch.testing.assert_close(supervised_contrastive(longer, LABELS), supervised_contrastive(VIEWS, LABELS))


@pytest.mark.parametrize("number", [1, 4])
def test_without_any_positive_loss_and_gradient_are_zero(number: int) -> None:
    views = VIEWS[:number].clone().requires_grad_()
    loss = supervised_contrastive(views, torch.arange(number))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert views.grad is not None
    assert not views.grad.any()


def test_gradients() -> None:
    views = VIEWS.clone().requires_grad_()
    torch.autograd.gradcheck(lambda v: supervised_contrastive(v, LABELS), views)


def test_half_precision_is_computed_in_single_and_dead_projections_are_finite() -> None:
    views = torch.cat([torch.zeros(2, 4), VIEWS.float()]).bfloat16().requires_grad_()
    loss = supervised_contrastive(views, torch.tensor([0, 1, *LABELS.tolist()]), 0.01)
    loss.backward()
    assert loss.dtype == torch.float32
    assert views.grad is not None
    assert bool(torch.isfinite(loss))
    assert bool(torch.isfinite(views.grad).all())
