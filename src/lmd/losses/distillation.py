"""Keeping what an earlier network knew."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from lmd.losses.relation import probability_consistency
from lmd.numerics import at_least_float32


def logit_distillation(
    student_logits: Float[Tensor, "batch classes"],
    teacher_logits: Float[Tensor, "batch classes"],
    temperature: float = 2.0,
) -> Float[Tensor, ""]:
    """The mean Kullback-Leibler divergence of softened posteriors, T^2 KL(softmax(s'/T) || softmax(s/T)).

    s' are the teacher's logits. T^2 keeps the gradient's size as T grows (Hinton et al., 2015).

    >>> import torch
    >>> float(logit_distillation(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 3.0]])))
    0.0
    """
    return temperature**2 * probability_consistency(
        student_logits / temperature, teacher_logits / temperature
    )


def feature_distillation(
    student_features: Float[Tensor, "batch channels"], teacher_features: Float[Tensor, "batch channels"]
) -> Float[Tensor, ""]:
    """The mean squared difference of features, (1/(B C)) || z - z' ||_F^2.

    >>> import torch
    >>> float(feature_distillation(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]])))
    2.0
    """
    return (at_least_float32(student_features) - at_least_float32(teacher_features)).square().mean()
