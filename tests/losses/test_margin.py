"""LDAM against its formula, cross entropy without margins, and its extremes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from lmd.losses.margin import ldam_loss, ldam_margins

COSINES = torch.rand(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
LABELS = torch.tensor([0, 2, 1, 1, 0, 2])
COUNTS = torch.tensor([9012, 324, 90])


def test_margins_against_the_formula() -> None:
    expected = [0.5 * (n / 90) ** -0.25 for n in COUNTS.tolist()]
    assert ldam_margins(COUNTS).tolist() == pytest.approx(expected, rel=1e-12)
    assert ldam_margins(COUNTS, 0.3).max() == pytest.approx(0.3)


def test_equal_counts_give_equal_margins() -> None:
    assert ldam_margins(torch.tensor([7, 7, 7]), 0.4).tolist() == [0.4, 0.4, 0.4]


def test_an_absent_class_leaves_the_others_their_margins() -> None:
    margins = ldam_margins(torch.tensor([81, 0, 1]))
    assert margins.tolist() == pytest.approx([0.5 / 3, 0.5, 0.5])
    assert ldam_margins(torch.tensor([81, 0, 16])).tolist() == pytest.approx([1 / 3, 0.5, 0.5])


def test_the_loss_against_a_loop() -> None:
    margins, total = ldam_margins(COUNTS), 0.0
    for row, label in zip(COSINES.tolist(), LABELS.tolist(), strict=True):
        row[label] -= float(margins[label])
        total += math.log(sum(math.exp(30 * value) for value in row)) - 30 * row[label]
    assert float(ldam_loss(COSINES, LABELS, margins)) == pytest.approx(total / 6, rel=1e-12)


def test_weights_are_those_of_a_weighted_mean() -> None:
    weights = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    no_margin = torch.zeros(3, dtype=torch.float64)
    expected = F.cross_entropy(20 * COSINES, LABELS, weights)
    torch.testing.assert_close(ldam_loss(COSINES, LABELS, no_margin, 20.0, weights), expected)


def test_gradients() -> None:
    cosines = COSINES.clone().requires_grad_()
    torch.autograd.gradcheck(lambda s: ldam_loss(s, LABELS, ldam_margins(COUNTS)), cosines)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_single(dtype: torch.dtype) -> None:
    cosines = torch.tensor([[1.0, -1.0]], dtype=dtype, requires_grad=True)
    loss = ldam_loss(cosines, torch.tensor([1]), torch.tensor([0.1, 0.5]), 1e4)
    loss.backward()
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(2.5e4)
    assert cosines.grad is not None
    assert bool(torch.isfinite(cosines.grad).all())
