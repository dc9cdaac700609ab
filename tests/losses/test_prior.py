"""The prior in the logits: against its formula, cross entropy, and the minimiser that it is made for."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from lmd.losses.prior import log_prior, prior_cross_entropy

LOGITS = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 1, 0, 2])
COUNTS = torch.tensor([90, 9, 1])


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_the_loss_against_a_loop(tau: float) -> None:
    total = 0.0
    for row, label in zip(LOGITS.tolist(), LABELS.tolist(), strict=True):
        terms = [math.exp(s) * (n / 100) ** tau for s, n in zip(row, [90, 9, 1], strict=True)]
        total -= math.log(terms[label] / sum(terms))
    assert float(prior_cross_entropy(LOGITS, LABELS, COUNTS, tau)) == pytest.approx(total / 6, rel=1e-12)


def test_a_uniform_prior_and_tau_0_are_cross_entropy() -> None:
    expected = F.cross_entropy(LOGITS, LABELS)
    torch.testing.assert_close(prior_cross_entropy(LOGITS, LABELS, torch.tensor([5, 5, 5])), expected)
    assert torch.equal(prior_cross_entropy(LOGITS, LABELS, COUNTS, 0.0), expected)


def test_at_tau_1_it_is_minimised_by_logits_without_the_prior() -> None:
    """Labels drawn as the prior says and images that tell nothing: all logits should be equal."""
    labels = torch.tensor([0] * 90 + [1] * 9 + [2])
    logits = torch.zeros(100, 3, dtype=torch.float64, requires_grad=True)
    prior_cross_entropy(logits, labels, COUNTS).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad.sum(0), torch.zeros(3, dtype=torch.float64))


def test_an_absent_class_has_a_finite_prior() -> None:
    assert log_prior(torch.tensor([3, 0])).exp().tolist() == pytest.approx([0.75, 0.25])


def test_gradients() -> None:
    logits = LOGITS.clone().requires_grad_()
    torch.autograd.gradcheck(lambda s: prior_cross_entropy(s, LABELS, COUNTS), logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_huge_logits_in_half_precision(dtype: torch.dtype) -> None:
    logits = torch.tensor([[3e4, 0.0, -3e4]], dtype=dtype, requires_grad=True)
    loss = prior_cross_entropy(logits, torch.tensor([2]), COUNTS)
    loss.backward()
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(6e4, rel=1e-2)
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
