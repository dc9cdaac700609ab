"""Perturbations of classifier and features that are specific to a class (CC-SAM)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


class ClassShift(NamedTuple):
    """What is added to a linear classifier when it judges images of class c: [c, K, C] and [c, K]."""

    weight: Tensor
    bias: Tensor


def class_gradients(
    features: Float[Tensor, "batch channels"],
    logits: Float[Tensor, "batch classes"],
    targets: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
) -> ClassShift:
    """The gradient of each class's mean cross entropy with respect to a linear classifier.

        dL_c/dW = mean_{i: y_i = c} (p_i - t_i) z_i^T,    dL_c/db = mean_{i: y_i = c} (p_i - t_i)

    p are the posteriors, t the targets (one-hot or mixed), y the class an image counts for. In closed form,
    so that no class costs a backward pass; 0 for a class that is not present.

    >>> targets, labels = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    >>> class_gradients(torch.ones(1, 1), torch.zeros(1, 2), targets, labels).bias[0]
    tensor([-0.5000,  0.5000])
    """
    member = F.one_hot(labels, logits.shape[1]).to(features.dtype)
    share = member / member.sum(0).clamp(min=1)
    residual = logits.softmax(1) - targets
    return ClassShift(
        torch.einsum("bc,bk,bd->ckd", share, residual, features),
        torch.einsum("bc,bk->ck", share, residual),
    )


def class_shifts(
    gradients: ClassShift,
    weight: Float[Tensor, "classes channels"],
    bias: Float[Tensor, " classes"],
    counts: Float[Tensor, " classes"],
    radius: float,
) -> ClassShift:
    """The ascent step rho_c g_c / ||g_c|| of each class, longer for rare classes.

        rho_c = r sqrt(||w|| / ||g_c||) k^(1/4) / (sqrt(2) (n_c - 1)^(1/4))

    ||w|| is one norm over weight and bias together, and k the number of both. The weight and the bias then
    take a step each, with g_c the gradient of that part alone. n_c is the number of training images of the
    class (n_c - 1 is at least 1), r the radius. A class without a gradient has no step.
    Zhou et al., CVPR 2023, as in the authors' code (zzpustc/CC-SAM, 651d3df).

    >>> gradients = ClassShift(torch.tensor([[[4.0]]]), torch.tensor([[1.0]]))
    >>> shift = class_shifts(gradients, torch.tensor([[4.0]]), torch.tensor([3.0]), torch.tensor([2.0]), 1.0)
    >>> round(float(shift.weight), 4), round(float(shift.bias), 4)  # ||w|| = 5: sqrt(5 / 4 or 1) / 2^(1/4)
    (0.9402, 1.8803)
    """
    size = weight.numel() + bias.numel()
    norm = (weight.square().sum() + bias.square().sum()).sqrt()
    factor = radius * norm.sqrt() * size**0.25 / math.sqrt(2) / (counts - 1).clamp(min=1) ** 0.25
    return ClassShift(_step(gradients.weight, factor), _step(gradients.bias, factor))


def _step(gradients: Tensor, factor: Tensor) -> Tensor:
    norms = gradients.flatten(1).norm(dim=1)
    length = factor / norms.sqrt()
    scale = torch.where(norms > 0, length / norms, torch.zeros_like(norms))
    return gradients * scale.view(-1, *[1] * (gradients.ndim - 1))


def shifted_logits(
    features: Float[Tensor, "batch channels"],
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    shifts: ClassShift,
) -> Float[Tensor, "batch classes"]:
    """The logits of each image under the classifier shifted for its class, (W + dW_{y_i}) z_i + b + db_{y_i}.

    >>> shifts = ClassShift(torch.tensor([[[1.0], [0.0]], [[0.0], [0.0]]]), torch.zeros(2, 2))
    >>> shifted_logits(torch.tensor([[3.0]]), torch.zeros(1, 2), torch.tensor([0]), shifts)
    tensor([[3., 0.]])
    """
    moved = torch.einsum("bd,ckd->bck", features, shifts.weight)
    rows = torch.arange(len(labels), device=labels.device)
    return logits + moved[rows, labels] + shifts.bias[labels]


def feature_noise(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    weight: Float[Tensor, "classes channels"],
    strengths: Float[Tensor, " classes"],
) -> Float[Tensor, "batch channels"]:
    """The ascent direction of the cross entropy in the space of features, v_c long for each class.

        noise_i = v_{y_i} g_i / || (g_j)_{j: y_j = y_i} ||_F,    g_i = W^T (p_i - onehot(y_i))

    The norm is over the images of the class in the batch, as in the code of CC-SAM.

    >>> weight, strengths = torch.tensor([[4.0], [0.0]]), torch.tensor([0.5, 1.0])
    >>> feature_noise(torch.zeros(1, 2), torch.tensor([0]), weight, strengths)
    tensor([[-0.5000]])
    """
    gradient = (logits.softmax(1) - F.one_hot(labels, logits.shape[1])) @ weight
    squares = gradient.new_zeros(logits.shape[1]).index_add(0, labels, gradient.square().sum(1))
    norms = squares.sqrt().clamp(min=torch.finfo(gradient.dtype).tiny)
    return gradient * (strengths / norms)[labels][:, None]
