"""Cross entropy and its generalisation against loops and limits."""

from __future__ import annotations

import math

import pytest
import torch

from lmd.losses.classification import cross_entropy, generalised_cross_entropy, linear_cross_entropy

LOGITS = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 1, 0])


def probabilities() -> list[float]:
    """p_y of each row, by hand."""
    result: list[float] = []
    for row, label in zip(LOGITS.tolist(), LABELS.tolist(), strict=True):
        result.append(math.exp(row[label]) / sum(math.exp(value) for value in row))
    return result


def test_cross_entropy_of_equation_8() -> None:
    expected = -sum(math.log(p) for p in probabilities()) / 5
    assert float(cross_entropy(LOGITS, LABELS)) == pytest.approx(expected, rel=1e-12)


def test_the_gradient_of_a_linear_classifier_is_that_of_autograd() -> None:
    random = torch.Generator().manual_seed(1)
    features = torch.randn(5, 4, dtype=torch.float64, generator=random)
    weight, bias = (torch.randn(*size, dtype=torch.float64, generator=random) for size in ((3, 4), (3,)))
    weight.requires_grad_()
    bias.requires_grad_()
    value = cross_entropy(features @ weight.T + bias, LABELS)
    expected = (value, *torch.autograd.grad(value, (weight, bias)))
    found = linear_cross_entropy(features, LABELS, weight, bias)
    assert not any(part.requires_grad for part in found)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("q", [0.1, 0.7, 1.0])
def test_generalised_cross_entropy(q: float) -> None:
    expected = sum((1 - p**q) / q for p in probabilities()) / 5
    assert float(generalised_cross_entropy(LOGITS, LABELS, q)) == pytest.approx(expected, rel=1e-12)


def test_it_tends_to_cross_entropy() -> None:
    small = generalised_cross_entropy(LOGITS, LABELS, 1e-8)
    assert float(small) == pytest.approx(float(cross_entropy(LOGITS, LABELS)), rel=1e-6)


@pytest.mark.parametrize("q", [0.0, -1.0, 1.5])
def test_an_impossible_q_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="q ="):
        generalised_cross_entropy(LOGITS, LABELS, q)


def test_gradients() -> None:
    logits = LOGITS.clone().requires_grad_()
    torch.autograd.gradcheck(lambda s: cross_entropy(s, LABELS), logits)
    torch.autograd.gradcheck(lambda s: generalised_cross_entropy(s, LABELS), logits)


def test_half_precision_is_computed_in_single() -> None:
    logits = torch.tensor([[300.0, -300.0]], dtype=torch.bfloat16, requires_grad=True)
    for loss in (
        cross_entropy(logits, torch.tensor([1])),
        generalised_cross_entropy(logits, torch.tensor([1])),
    ):
        assert loss.dtype == torch.float32
        assert bool(torch.isfinite(loss))
