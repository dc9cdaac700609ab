"""Class-weighted losses against loops, torch's own, and extremes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from lmd.losses.class_balanced import weighted_binary_cross_entropy, weighted_cross_entropy
from lmd.losses.classification import cross_entropy

LOGITS = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 1, 0])
WEIGHTS = torch.tensor([0.2, 1.0, 1.8], dtype=torch.float64)
LOSSES = [weighted_cross_entropy, weighted_binary_cross_entropy]


def test_weighted_cross_entropy_against_a_loop() -> None:
    total = 0.0
    for row, label in zip(LOGITS.tolist(), LABELS.tolist(), strict=True):
        total -= WEIGHTS[label].item() * math.log(math.exp(row[label]) / sum(map(math.exp, row)))
    assert float(weighted_cross_entropy(LOGITS, LABELS, WEIGHTS)) == pytest.approx(total / 5, rel=1e-12)


def test_equal_weights_are_cross_entropy() -> None:
    plain = weighted_cross_entropy(LOGITS, LABELS, torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(plain, cross_entropy(LOGITS, LABELS))


def test_binary_form_is_that_of_softmax_probabilities() -> None:
    expected = F.binary_cross_entropy(
        LOGITS.softmax(1), F.one_hot(LABELS, 3).double(), weight=WEIGHTS[LABELS][:, None].expand(-1, 3)
    )
    torch.testing.assert_close(weighted_binary_cross_entropy(LOGITS, LABELS, WEIGHTS), expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss: object) -> None:
    logits = LOGITS.clone().requires_grad_()
    torch.autograd.gradcheck(lambda s: loss(s, LABELS, WEIGHTS), logits)  # type: ignore[operator]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sure_and_wrong_is_finite(loss: object, dtype: torch.dtype) -> None:
    logits = torch.tensor([[300.0, -300.0], [-300.0, 300.0]], dtype=dtype, requires_grad=True)
    value = loss(logits, torch.tensor([1, 1]), torch.ones(2))  # type: ignore[operator]
    value.backward()
    assert value.dtype == torch.float32
    assert float(value.detach()) == pytest.approx(300.0, rel=1e-6)
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
