"""Cross entropy and its relatives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lmd.errors import SettingsError
from lmd.losses.relation import at_least_float32


def cross_entropy(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """The mean cross entropy of the labels, -(1/B) sum_i log softmax(s_i)_{y_i} (eq. 8 and in eq. 12).

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
    """The cross entropy of a linear classifier, s_i = W z_i + b, and its gradients in W and b.

        dL/ds_i = (softmax(s_i) - onehot(y_i)) / B,   dL/dW = sum_i dL/ds_i z_i^T,   dL/db = sum_i dL/ds_i

    Written out, with the classes in rows: autograd takes more than twice as long where a step is this small.
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

    Zhang and Sabuncu, NeurIPS 2018; the label term of the authors' E-step (methods.md 1.3, row 14).

    Raises:
        SettingsError: q is not in (0, 1].

    >>> round(float(generalised_cross_entropy(torch.zeros(1, 4), torch.tensor([2]), q=1.0)), 4)
    0.75
    """
    if not 0.0 < q <= 1.0:
        raise SettingsError(f"q = {q} must be in (0, 1]")
    log_p = at_least_float32(logits).log_softmax(1).gather(1, labels[:, None]).squeeze(1)
    # -expm1(q log p) / q keeps its digits where p^q is close to 1.
    return -((q * log_p).expm1() / q).mean()
