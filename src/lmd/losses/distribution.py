"""The objective of the E-step: attraction, repulsion, and the cross entropy that keeps them apart."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from lmd.losses.classification import cross_entropy


def attraction(distances: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """The mean distance Psi of the features to their own class (eq. 10).

        Psi = (1/B) sum_i d_{y_i}(z_i),   d_k(z) = (z - mu_k)^T Sigma_k^{-1} (z - mu_k)

    # Paper: prints Sigma_k and names the Mahalanobis distance. Here: its inverse, as that distance has it.
    The distances d_k come from `lmd.losses.distance.prepare_metric`, which has both.

    >>> import torch
    >>> float(attraction(torch.tensor([[1.0, 5.0], [4.0, 3.0]]), torch.tensor([0, 1])))
    2.0
    """
    return distances.gather(1, labels[:, None]).mean()


def repulsion(distances: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """The mean distance Phi of the features to the other classes (eq. 11).

        Phi = (1/B) sum_i (1/(K-1)) sum_{k != y_i} d_k(z_i),   d_k as in `attraction`

    Raises:
        ValueError: there is only one class.

    >>> import torch
    >>> float(repulsion(torch.tensor([[1.0, 5.0], [4.0, 3.0]]), torch.tensor([0, 1])))
    4.5
    """
    num_classes = distances.shape[1]
    if num_classes < 2:
        raise ValueError("feature distribution consistency needs at least two classes")
    others = distances.scatter(1, labels[:, None], 0.0)
    return others.sum(1).mean() / (num_classes - 1)


class ExpectationLoss(NamedTuple):
    """The objective of the E-step and its two terms."""

    total: Tensor
    cross_entropy: Tensor
    distribution_consistency: Tensor


def expectation_loss(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    distances: Float[Tensor, "batch classes"],
    distribution_weight: float,
) -> ExpectationLoss:
    """The feature distribution consistency loss of the E-step (eq. 12).

        L^E = lambda_e (Psi - Phi) + CE(f(g(x)), y)

    `distances` [B, K] of the features come from `lmd.losses.distance.prepare_metric`. Psi - Phi is unbounded
    below where covariances differ; the paper's lambda_e is 1e-4.

    >>> import torch
    >>> distances, labels = torch.tensor([[1.0, 5.0], [4.0, 3.0]]), torch.tensor([0, 1])
    >>> loss = expectation_loss(torch.zeros(2, 2), labels, distances, 0.1)  # 0.1 (2 - 4.5) + log 2
    >>> [round(float(term), 4) for term in loss]
    [0.4431, 0.6931, -2.5]
    """
    label_term = cross_entropy(logits, labels)
    consistency = attraction(distances, labels) - repulsion(distances, labels)
    return ExpectationLoss(label_term + distribution_weight * consistency, label_term, consistency)
