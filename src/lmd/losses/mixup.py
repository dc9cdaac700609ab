"""Cross entropy with mixed labels."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lmd.numerics import at_least_float32


def mixed_labels(
    first: Int[Tensor, " batch"],
    second: Int[Tensor, " batch"],
    weight: Float[Tensor, ""],
    num_classes: int,
) -> Float[Tensor, "batch {num_classes}"]:
    """The distribution (1 - w) onehot(first) + w onehot(second) of each image's label.

    >>> import torch
    >>> mixed_labels(torch.tensor([0]), torch.tensor([2]), torch.tensor(0.25), 3)
    tensor([[0.7500, 0.0000, 0.2500]])
    """
    return (1 - weight) * F.one_hot(first, num_classes) + weight * F.one_hot(second, num_classes)


def soft_cross_entropy(
    logits: Float[Tensor, "batch classes"], targets: Float[Tensor, "batch classes"]
) -> Float[Tensor, ""]:
    """The mean cross entropy of a distribution over the classes, -(1/B) sum_i sum_k t_ik log p_ik.

    >>> import torch
    >>> round(float(soft_cross_entropy(torch.zeros(1, 2), torch.tensor([[0.5, 0.5]]))), 4)  # log 2
    0.6931
    """
    return -(targets * at_least_float32(logits).log_softmax(1)).sum(1).mean()
