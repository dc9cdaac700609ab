"""Consistency of predictions, of sample relations and of channel relations; see eq. 3-5."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lmd.numerics import at_least_float32

Direction = Literal["teacher_student", "student_teacher", "symmetric"]
GramNorm = Literal["row_l2", "frobenius", "none"]

# Inside the square root: a row of zeros (a dead channel) then has norm 1e-6 and a finite gradient.
_EPSILON = 1e-12


def probability_consistency(
    student_logits: Float[Tensor, "batch classes"],
    teacher_logits: Float[Tensor, "batch classes"],
    direction: Direction = "teacher_student",
) -> Float[Tensor, ""]:
    """The mean Kullback-Leibler divergence between the class posteriors of student and teacher (eq. 3).

        L_prob = (1/B) sum_i sum_k p_ik (log p_ik - log q_ik)

    With "teacher_student" p is the teacher's posterior and q the student's, as in distillation and in the
    authors' code; "student_teacher" is the order in which eq. 3 prints them; "symmetric" their mean.
    Both come from log_softmax, so that a logit gap of hundreds gives a finite value.

    >>> import torch
    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    >>> float(probability_consistency(logits, logits))
    0.0
    """
    student = at_least_float32(student_logits).log_softmax(1)
    teacher = at_least_float32(teacher_logits).log_softmax(1)
    if direction == "teacher_student":
        return F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    if direction == "student_teacher":
        return F.kl_div(teacher, student, reduction="batchmean", log_target=True)
    forward = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return 0.5 * (forward + F.kl_div(teacher, student, reduction="batchmean", log_target=True))


def sample_relation(
    features: Float[Tensor, "batch channels"], gram_norm: GramNorm = "row_l2"
) -> Float[Tensor, "batch batch"]:
    """The Gram matrix over samples, S_b = z z^T, its scale taken out as `gram_norm` says.

    >>> import torch
    >>> sample_relation(torch.tensor([[3.0, 4.0], [0.0, 2.0]]), "none")
    tensor([[25.,  8.],
            [ 8.,  4.]])
    """
    z = at_least_float32(features)
    return _normalise(z @ z.T, gram_norm)


def channel_relation(
    features: Float[Tensor, "batch channels"], gram_norm: GramNorm = "row_l2"
) -> Float[Tensor, "channels channels"]:
    """The Gram matrix over channels, S_c = z^T z, its scale taken out as `gram_norm` says.

    >>> import torch
    >>> channel_relation(torch.tensor([[3.0, 0.0], [0.0, 2.0]]), "none")
    tensor([[9., 0.],
            [0., 4.]])
    """
    z = at_least_float32(features)
    return _normalise(z.T @ z, gram_norm)


def sample_consistency(
    student_features: Float[Tensor, "batch channels"],
    teacher_features: Float[Tensor, "batch channels"],
    gram_norm: GramNorm = "row_l2",
) -> Float[Tensor, ""]:
    """The squared distance between the sample relations of student and teacher (eq. 4).

        L_sample = (1/B) || S_b(z_s) - S_b(z'_w) ||_F^2

    The paper's square of a matrix is read as the sum of its squared entries.
    # Paper: raw Gram matrices. Here: each row L2-normalised by default, because raw ones swamp the cross
    entropy at lambda_1 = 10 (docs/paper.md, row 1); "none" is the paper's.

    >>> import torch
    >>> z = torch.eye(2)
    >>> float(sample_consistency(z, 2 * z)), float(sample_consistency(z, 2 * z, "none"))
    (0.0, 9.0)
    """
    difference = sample_relation(student_features, gram_norm) - sample_relation(teacher_features, gram_norm)
    return difference.square().sum() / student_features.shape[0]


def channel_consistency(
    student_features: Float[Tensor, "batch channels"],
    teacher_features: Float[Tensor, "batch channels"],
    gram_norm: GramNorm = "row_l2",
) -> Float[Tensor, ""]:
    """The squared distance between the channel relations of student and teacher (eq. 5).

        L_channel = (1/C) || S_c(z_s) - S_c(z'_w) ||_F^2

    Read and normalised as `sample_consistency` is.

    >>> import torch
    >>> z = torch.eye(2)
    >>> float(channel_consistency(z, 2 * z, "none"))
    9.0
    """
    difference = channel_relation(student_features, gram_norm) - channel_relation(teacher_features, gram_norm)
    return difference.square().sum() / student_features.shape[1]


def _normalise(gram: Tensor, gram_norm: GramNorm) -> Tensor:
    if gram_norm == "none":
        return gram
    squares = gram.square()
    total = squares.sum(1, keepdim=True) if gram_norm == "row_l2" else squares.sum()
    return gram / (total + _EPSILON).sqrt()
