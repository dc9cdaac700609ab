"""Logit adjustment: what the frequency of the classes adds to the logits."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lmd.numerics import at_least_float32


def log_prior(counts: Int[Tensor, " classes"]) -> Float[Tensor, " classes"]:
    """The logarithm of each class's share of the images, log pi_k = log(n_k / N).

    A class without images counts as one of a single image, so that its logarithm is finite.

    >>> import torch
    >>> log_prior(torch.tensor([3, 1])).exp().tolist()
    [0.75, 0.25]
    """
    present = counts.clamp(min=1).double()
    return (present / present.sum()).log()


def prior_cross_entropy(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    counts: Int[Tensor, " classes"],
    tau: float = 1.0,
) -> Float[Tensor, ""]:
    """The mean cross entropy of s_k + tau log pi_k.

    Menon et al., ICLR 2021; at tau = 1 it is the balanced softmax of Ren et al., NeurIPS 2020, because
    adding log n_k and adding log pi_k differ by a constant. Equal counts make it the cross entropy.

    >>> import torch
    >>> value = prior_cross_entropy(torch.zeros(1, 2), torch.tensor([1]), torch.tensor([3, 1]))
    >>> round(float(value), 4)  # log 4
    1.3863
    """
    s = at_least_float32(logits)
    return F.cross_entropy(s + tau * log_prior(counts).to(s), labels)
