"""Cross entropy of mixed labels: the mixture of two cross entropies."""

from __future__ import annotations

import pytest
import torch

from lmd.losses.classification import cross_entropy
from lmd.losses.mixup import mixed_labels, soft_cross_entropy

LOGITS = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
FIRST, SECOND = torch.tensor([0, 2, 1, 1, 0]), torch.tensor([1, 2, 0, 1, 2])


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_it_is_the_mixture_of_both_labels_losses(weight: float) -> None:
    targets = mixed_labels(FIRST, SECOND, torch.tensor(weight, dtype=torch.float64), 3)
    expected = (1 - weight) * cross_entropy(LOGITS, FIRST) + weight * cross_entropy(LOGITS, SECOND)
    torch.testing.assert_close(soft_cross_entropy(LOGITS, targets), expected)
    torch.testing.assert_close(targets.sum(1), torch.ones(5, dtype=torch.float64))


def test_gradients_and_half_precision() -> None:
    targets = mixed_labels(FIRST, SECOND, torch.tensor(0.3, dtype=torch.float64), 3)
    logits = LOGITS.clone().requires_grad_()
    torch.autograd.gradcheck(lambda s: soft_cross_entropy(s, targets), logits)
    loss = soft_cross_entropy((100 * LOGITS).bfloat16(), targets.float())
    assert loss.dtype == torch.float32
    assert bool(torch.isfinite(loss))
