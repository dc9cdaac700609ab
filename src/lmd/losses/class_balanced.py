"""Losses with a weight for each class."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lmd.numerics import at_least_float32


def weighted_cross_entropy(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    weights: Float[Tensor, " classes"],
) -> Float[Tensor, ""]:
    """The mean cross entropy with a weight for each class, -(1/B) sum_i w_{y_i} log p_{y_i}.

    Divided by the number of images, not by the sum of their weights: a batch of rare images counts more.

    >>> weights = torch.tensor([1.0, 3.0])
    >>> round(float(weighted_cross_entropy(torch.zeros(1, 2), torch.tensor([1]), weights)), 4)  # 3 log 2
    2.0794
    """
    losses = F.cross_entropy(at_least_float32(logits), labels, reduction="none")
    return (weights[labels] * losses).mean()


def weighted_binary_cross_entropy(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    weights: Float[Tensor, " classes"],
) -> Float[Tensor, ""]:
    """The mean over images and classes of the binary cross entropy of softmax probabilities.

        L = -(1 / (B K)) sum_i w_{y_i} [ log p_{i y_i} + sum_{k != y_i} log(1 - p_ik) ]

    What the code of Alshammari et al. (CVPR 2022) calls its softmax loss. log(1 - p_k) is the logsumexp of
    the other logits minus that of all, which stays finite where p_k rounds to 1.

    >>> round(float(weighted_binary_cross_entropy(torch.zeros(1, 2), torch.tensor([0]), torch.ones(2))), 4)
    0.6931
    """
    s = at_least_float32(logits)
    classes = s.shape[1]
    itself = torch.eye(classes, dtype=torch.bool, device=s.device)
    others = s[:, None, :].expand(-1, classes, -1).masked_fill(itself, -math.inf).logsumexp(2)
    log_not = others - s.logsumexp(1, keepdim=True)
    truth = F.one_hot(labels, classes).bool()
    per_class = torch.where(truth, s.log_softmax(1), log_not)
    return -(weights[labels][:, None] * per_class).mean()
