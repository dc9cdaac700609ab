"""Cross entropy and its relatives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lmd.numerics import at_least_float32


def cross_entropy(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """The mean cross entropy of the labels, -(1/B) sum_i log softmax(s_i)_{y_i}; see eq. 8 and eq. 12.

    >>> round(float(cross_entropy(torch.zeros(1, 4), torch.tensor([2]))), 4)  # log 4
    1.3863
    """
    return F.cross_entropy(at_least_float32(logits), labels)


@torch.no_grad()
def linear_cross_entropy(
    features: Float[Tensor, "batch channels"],
    labels: Int[Tensor, " batch"],
    weight: Float[Tensor, "classes channels"],
    bias: Float[Tensor, " classes"],
) -> tuple[Float[Tensor, ""], Float[Tensor, "classes channels"], Float[Tensor, " classes"]]:
    """The objective of the M-step, L^M, on a batch of virtual features z, with its gradients (eq. 8).

        L^M = -(1/B) sum_i log softmax(W z_i + b)_{y_i}
        dL/ds_i = (softmax(s_i) - onehot(y_i)) / B,   dL/dW = sum_i dL/ds_i z_i^T,   dL/db = sum_i dL/ds_i

    The gradients are written out, with the classes in rows: autograd takes more than twice as long where a
    step is this small. Arxiv 2502.03238, section 3.4.2; `lmd.losses.exact` has its limit for R -> infinity.

    >>> features, labels = torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 1])
    >>> loss, to_weight, to_bias = linear_cross_entropy(features, labels, torch.zeros(2, 1), torch.zeros(2))
    >>> round(float(loss), 4), to_weight.flatten().tolist(), to_bias.tolist()  # log 2
    (0.6931, [-0.5, 0.5], [0.0, 0.0])
    """
    log_p = torch.addmm(bias[:, None], weight, features.T).log_softmax(0)
    own = labels, torch.arange(len(labels), device=labels.device)
    loss = -log_p[own].mean()
    residual = log_p.exp_()
    residual[own] -= 1.0
    residual /= len(labels)
    return loss, residual @ features, residual.sum(1)


def generalised_cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], q: float = 0.7
) -> Float[Tensor, ""]:
    """The mean of (1 - p_y^q) / q: cross entropy for q -> 0, mean absolute error for q = 1.

    Zhang and Sabuncu, NeurIPS 2018; the label term of the authors' E-step (docs/paper.md, row 14).

    Raises:
        ValueError: q is not in (0, 1].

    >>> round(float(generalised_cross_entropy(torch.zeros(1, 4), torch.tensor([2]), q=1.0)), 4)
    0.75
    """
    if not 0.0 < q <= 1.0:
        raise ValueError(f"q = {q} must be in (0, 1]")
    log_p = at_least_float32(logits).log_softmax(1).gather(1, labels[:, None]).squeeze(1)
    # -expm1(q log p) / q keeps its digits where p^q is close to 1.
    return -((q * log_p).expm1() / q).mean()
