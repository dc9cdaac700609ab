"""Focal losses against slow loops, torchvision, cross entropy at gamma 0, and at their extremes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss as foreign

from lmd.losses.focal import focal_loss, sigmoid_focal_loss

LOGITS = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 3, 1, 1, 0, 2])
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 0.25], dtype=torch.float64)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_softmax_form(gamma: float) -> None:
    total = 0.0
    for row, label in zip(LOGITS.tolist(), LABELS.tolist(), strict=True):
        p = math.exp(row[label]) / sum(map(math.exp, row))
        total -= float(WEIGHTS[label]) * (1 - p) ** gamma * math.log(p)
    assert float(focal_loss(LOGITS, LABELS, gamma, WEIGHTS)) == pytest.approx(total / 6, rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_sigmoid_form(gamma: float, alpha: float | None) -> None:
    target = F.one_hot(LABELS, 4).double()
    terms = foreign(LOGITS, target, -1 if alpha is None else alpha, gamma)
    ours = sigmoid_focal_loss(LOGITS, LABELS, gamma, alpha)
    torch.testing.assert_close(ours, terms.sum() / 6)
    weighted = sigmoid_focal_loss(LOGITS, LABELS, gamma, alpha, WEIGHTS)
    torch.testing.assert_close(weighted, (terms.sum(1) * WEIGHTS[LABELS]).sum() / 6)


def test_gamma_0_is_cross_entropy_value_and_gradient() -> None:
    ours, theirs = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    loss, reference = focal_loss(ours, LABELS, 0.0), F.cross_entropy(theirs, LABELS)
    torch.testing.assert_close(loss, reference)
    loss.backward()
    reference.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_modulator_may_be_held_fixed() -> None:
    """Its value is the same, its gradient that of a cross entropy with constant weights."""
    logits = LOGITS.clone().requires_grad_()
    held = focal_loss(logits, LABELS, 1.0, detach_modulator=True)
    torch.testing.assert_close(held, focal_loss(LOGITS, LABELS, 1.0))
    held.backward()
    fixed = 1 - LOGITS.softmax(1).gather(1, LABELS[:, None]).squeeze(1)
    again = LOGITS.clone().requires_grad_()
    (fixed * F.cross_entropy(again, LABELS, reduction="none")).mean().backward()
    torch.testing.assert_close(logits.grad, again.grad)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_gradients(gamma: float) -> None:
    logits = LOGITS.clone().requires_grad_()
    torch.autograd.gradcheck(lambda s: focal_loss(s, LABELS, gamma, WEIGHTS), logits)
    torch.autograd.gradcheck(lambda s: sigmoid_focal_loss(s, LABELS, gamma, 0.25, WEIGHTS), logits)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("label", [0, 1])
def test_huge_logits_and_half_precision(gamma: float, dtype: torch.dtype, label: int) -> None:
    """Where the network is entirely sure, rightly or wrongly, value and gradient are finite."""
    for form in (focal_loss, sigmoid_focal_loss):
        logits = torch.tensor([[3e4, -3e4]], dtype=dtype, requires_grad=True)
        loss = form(logits, torch.tensor([label]), gamma)
        loss.backward()
        assert loss.dtype == torch.float32
        assert bool(torch.isfinite(loss))
        assert logits.grad is not None
        assert bool(torch.isfinite(logits.grad).all())
