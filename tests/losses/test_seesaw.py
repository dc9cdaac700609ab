"""Seesaw loss against a slow loop, cross entropy at p = q = 0, and its extremes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from lmd.losses.seesaw import seesaw_loss

LOGITS = 3 * torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 3, 1, 1, 0, 2])
COUNTS = torch.tensor([1000, 30, 30, 0])


def by_hand(p: float, q: float, epsilon: float) -> float:
    """The mean over the images of -log( e^s_i / (sum_j S_ij e^s_j) )."""
    seen, total = [1000, 30, 30, 1], 0.0
    for row, i in zip(LOGITS.tolist(), LABELS.tolist(), strict=True):
        normaliser = sum(map(math.exp, row))
        prob = [math.exp(s) / normaliser for s in row]
        below = 0.0
        for j, s in enumerate(row):
            mitigation = 1.0 if seen[i] <= seen[j] else (seen[j] / seen[i]) ** p
            ratio = prob[j] / max(prob[i], epsilon)
            compensation = 1.0 if ratio <= 1 else ratio**q
            below += math.exp(s) * (1.0 if i == j else mitigation * compensation)
        total -= math.log(math.exp(row[i]) / below)
    return total / len(LABELS)


@pytest.mark.parametrize(
    ("p", "q", "epsilon"), [(0.8, 2.0, 1e-2), (0.8, 0.0, 1e-2), (0.0, 2.0, 1e-2), (0.5, 1.0, 0.3)]
)
def test_against_a_loop(p: float, q: float, epsilon: float) -> None:
    expected = by_hand(p, q, epsilon)
    assert float(seesaw_loss(LOGITS, LABELS, COUNTS, p, q, epsilon)) == pytest.approx(expected, rel=1e-12)


def test_p_and_q_of_0_are_cross_entropy() -> None:
    assert torch.equal(seesaw_loss(LOGITS, LABELS, COUNTS, 0.0, 0.0), F.cross_entropy(LOGITS, LABELS))


def test_equal_counts_mitigate_nothing() -> None:
    equal = torch.tensor([8, 8, 8, 8])
    assert torch.equal(seesaw_loss(LOGITS, LABELS, equal, 0.8, 0.0), F.cross_entropy(LOGITS, LABELS))


def test_common_images_push_a_rare_class_less() -> None:
    """The gradient on the rare class's logit, from an image of the common class, is smaller than CE's."""

    def push(p: float) -> float:
        logits = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
        seesaw_loss(logits, torch.tensor([0]), torch.tensor([100, 1]), p, 0.0).backward()
        assert logits.grad is not None
        return float(logits.grad[0, 1])

    assert push(0.0) == pytest.approx(0.5)
    assert push(0.8) == pytest.approx(100**-0.8 / (1 + 100**-0.8))


def test_gradients_with_the_factors_held_fixed() -> None:
    """Without compensation the factors do not depend on the logits, and the gradient is the whole one."""
    logits = LOGITS.clone().requires_grad_()
    torch.autograd.gradcheck(lambda s: seesaw_loss(s, LABELS, COUNTS, 0.8, 0.0), logits)
    loss = seesaw_loss(logits, LABELS, COUNTS)
    (gradient,) = torch.autograd.grad(loss, logits)
    # With it: softmax of the seesawed logits minus the one-hot label, S taken as a constant.
    prob = LOGITS.softmax(1)
    ratio = prob / prob.gather(1, LABELS[:, None]).clamp(min=1e-2)
    seen = COUNTS.clamp(min=1).double()
    factor = (seen[None] / seen[LABELS][:, None]).clamp(max=1) ** 0.8 * ratio.clamp(min=1) ** 2
    target = F.one_hot(LABELS, 4).double()
    expected = ((LOGITS + (1 - target) * factor.log()).softmax(1) - target) / len(LABELS)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_huge_logits_in_half_precision(dtype: torch.dtype) -> None:
    for label in (0, 3):
        logits = torch.tensor([[3e4, 0.0, 0.0, -3e4]], dtype=dtype, requires_grad=True)
        loss = seesaw_loss(logits, torch.tensor([label]), COUNTS)
        loss.backward()
        assert loss.dtype == torch.float32
        assert bool(torch.isfinite(loss))
        assert logits.grad is not None
        assert bool(torch.isfinite(logits.grad).all())
