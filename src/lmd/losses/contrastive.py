"""The supervised contrastive loss: images of a class attract each other, all others repel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lmd.graphed import of_fixed_shapes
from lmd.numerics import at_least_float32

BASE_TEMPERATURE = 0.07


def supervised_contrastive(
    projections: Float[Tensor, "views channels"],
    labels: Int[Tensor, " views"],
    temperature: float = 0.1,
    base_temperature: float = BASE_TEMPERATURE,
) -> Float[Tensor, ""]:
    """The mean over anchors of the cross entropy of finding their positives among all other views.

        L = -(t / t_0) mean_i mean_{p in P(i)} log (e_ip / sum_{a != i} e_ia),    e_ij = exp(h_i.h_j / t)

    h are the projections at unit length, P(i) the other views of the anchor's class, t the temperature and
    t_0 the one that the rate was tuned for. An anchor without a positive is left out; where none has one,
    the loss is 0. Khosla et al., NeurIPS 2020; as used by Marrakchi et al., MICCAI 2021.

    >>> h = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> round(float(supervised_contrastive(h, torch.tensor([0, 0, 1, 1]), 1.0, 1.0)), 4)  # log((e + 2) / e)
    0.5514
    """
    h = F.normalize(at_least_float32(projections), dim=1)
    similarity = h @ h.T / temperature
    itself = torch.eye(len(h), dtype=torch.bool, device=h.device)
    log_share = similarity - similarity.masked_fill(itself, -math.inf).logsumexp(1, keepdim=True)
    positive = (labels[:, None] == labels) & ~itself
    number = positive.sum(1)
    log_shares = log_share.masked_fill(~positive, 0.0).sum(1)
    mean = _mean_by_mask if of_fixed_shapes(h) else _mean_of_anchors
    return -(temperature / base_temperature) * mean(log_shares, number)


def _mean_of_anchors(log_shares: Tensor, positives: Tensor) -> Tensor:
    """The mean share of a positive, over the views that have one; 0 where none has."""
    anchors = positives > 0
    if not bool(anchors.any()):
        return 0.0 * log_shares.sum()
    return (log_shares[anchors] / positives[anchors]).mean()


def _mean_by_mask(log_shares: Tensor, positives: Tensor) -> Tensor:
    """The same where a GPU must not wait for how many there are."""
    return (log_shares / positives.clamp(min=1)).sum() / (positives > 0).sum().clamp(min=1)
