"""Label over-smoothing against torch's label smoothing, its own minimum, and its extremes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lmd.losses.smoothing import smoothed_cross_entropy

LOGITS = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 3, 1, 1, 0, 2])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.98])
def test_against_torch(smoothing: float) -> None:
    expected = F.cross_entropy(LOGITS, LABELS, label_smoothing=smoothing)
    torch.testing.assert_close(smoothed_cross_entropy(LOGITS, LABELS, smoothing), expected)


def test_its_minimum_gives_the_label_slightly_more_than_a_share() -> None:
    target = torch.full((1, 4), 0.98 / 4, dtype=torch.float64)
    target[0, 1] += 0.02
    logits = target.log().requires_grad_()
    smoothed_cross_entropy(logits, torch.tensor([1])).backward()
    torch.testing.assert_close(logits.grad, torch.zeros(1, 4, dtype=torch.float64))


def test_gradients() -> None:
    logits = LOGITS.clone().requires_grad_()
    torch.autograd.gradcheck(lambda s: smoothed_cross_entropy(s, LABELS), logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_huge_logits_in_half_precision(dtype: torch.dtype) -> None:
    logits = torch.tensor([[3e4, -3e4]], dtype=dtype, requires_grad=True)
    loss = smoothed_cross_entropy(logits, torch.tensor([1]))
    loss.backward()
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(0.51 * 6e4, rel=1e-2)
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
