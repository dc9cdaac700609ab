"""Focal losses: cross entropy in which an image counts less the surer the network is of it."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lmd.numerics import at_least_float32

# Below this, 1 - p counts as 0: its power to gamma < 1 has no finite slope there.
_TINY = 1e-12


def focal_loss(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    gamma: float = 2.0,
    weights: Float[Tensor, " classes"] | None = None,
    detach_modulator: bool = False,
) -> Float[Tensor, ""]:
    """The mean focal loss of softmax probabilities, -(1/B) sum_i w_{y_i} (1 - p_{y_i})^gamma log p_{y_i}.

    Lin et al., ICCV 2017. At gamma = 0 it is the (weighted) cross entropy. With `detach_modulator` the
    factor (1 - p)^gamma has no gradient, as in the authors' code of GCL.

    >>> import torch
    >>> round(float(focal_loss(torch.zeros(1, 2), torch.tensor([0]), gamma=2.0)), 4)  # log(2) / 4
    0.1733
    """
    log_p = at_least_float32(logits).log_softmax(1).gather(1, labels[:, None]).squeeze(1)
    modulator = (-log_p.expm1()).clamp(min=_TINY) ** gamma
    if detach_modulator:
        modulator = modulator.detach()
    return -(modulator * log_p * _weights_of(log_p, labels, weights)).mean()


def sigmoid_focal_loss(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    gamma: float = 2.0,
    alpha: float | None = None,
    weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """The focal loss of K one-against-all decisions, summed over the classes and averaged over the images.

        -(1/B) sum_i w_{y_i} sum_k a_ik (1 - p_ik)^gamma log p_ik

    p_ik is the probability sigmoid(+-s_ik) of the right decision on class k; a_ik is `alpha` where k is
    the label and 1 - alpha elsewhere (1 where `alpha` is None). Lin et al., ICCV 2017, the original form.

    >>> import torch
    >>> round(float(sigmoid_focal_loss(torch.zeros(1, 2), torch.tensor([0]), gamma=0.0)), 4)  # 2 log(2)
    1.3863
    """
    s = at_least_float32(logits)
    target = F.one_hot(labels, s.shape[1]).to(s.dtype)
    signed = s * (2 * target - 1)
    # (1 - p)^gamma through its logarithm: exact where p is close to 1, and its slope stays finite.
    terms = (gamma * F.logsigmoid(-signed)).exp() * -F.logsigmoid(signed)
    if alpha is not None:
        terms = terms * (alpha * target + (1 - alpha) * (1 - target))
    return (terms.sum(1) * _weights_of(s, labels, weights)).mean()


def _weights_of(like: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    return like.new_ones(len(labels)) if weights is None else weights.to(like)[labels]
