"""Seesaw loss: rare classes are punished less by images of common ones, unless they are mistaken for them."""

from __future__ import annotations

import math

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lmd.numerics import at_least_float32


def seesaw_loss(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    counts: Int[Tensor, " classes"],
    p: float = 0.8,
    q: float = 2.0,
    epsilon: float = 1e-2,
) -> Float[Tensor, ""]:
    """The mean cross entropy of s_j + log S_ij for the classes j other than the label i.

        S_ij = M_ij C_ij,   M_ij = min(1, N_j / N_i)^p,   C_ij = max(1, p_j / max(p_i, epsilon))^q

    N are `counts` (at least 1) and p the detached softmax of the logits. M mitigates what images of a
    common class i do to a rarer class j, C compensates where j is predicted by mistake.
    Wang et al., CVPR 2021, for classification. At p = q = 0 it is the cross entropy.

    >>> import torch
    >>> value = seesaw_loss(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([4, 1]), p=0.5)
    >>> round(float(value), 4)  # log(1 + 1/2)
    0.4055
    """
    s = at_least_float32(logits)
    log_n = counts.clamp(min=1).to(s).log()
    log_p = s.detach().log_softmax(1)
    own = log_p.gather(1, labels[:, None]).clamp(min=math.log(epsilon))
    mitigation = p * (log_n[None] - log_n[labels, None]).clamp(max=0.0)
    compensation = q * (log_p - own).clamp(min=0.0)
    others = 1 - F.one_hot(labels, s.shape[1]).to(s.dtype)
    return F.cross_entropy(s + others * (mitigation + compensation), labels)
