"""Equations 10-12: attraction, repulsion and the feature-distribution consistency of the E-step."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from lmd.errors import SettingsError


def attraction(distances: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """The mean distance of the features to their own class (eq. 10).

        Psi = (1/B) sum_i d_{y_i}(z_i),   d_k(z) = (z - mu_k)^T Sigma_k^{-1} (z - mu_k)

    >>> import torch
    >>> float(attraction(torch.tensor([[1.0, 5.0], [4.0, 3.0]]), torch.tensor([0, 1])))
    2.0
    """
    return distances.gather(1, labels[:, None]).mean()


def repulsion(distances: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """The mean distance of the features to the other classes (eq. 11).

        Phi = (1/B) sum_i (1/(K-1)) sum_{k != y_i} d_k(z_i)

    Raises:
        SettingsError: there is only one class.

    >>> import torch
    >>> float(repulsion(torch.tensor([[1.0, 5.0], [4.0, 3.0]]), torch.tensor([0, 1])))
    4.5
    """
    num_classes = distances.shape[1]
    if num_classes < 2:
        raise SettingsError("feature-distribution consistency needs at least two classes")
    others = distances.scatter(1, labels[:, None], 0.0)
    return others.sum(1).mean() / (num_classes - 1)


def distribution_consistency(
    distances: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    sign: Literal["paper", "code"] = "paper",
    phi_cap: float | None = None,
) -> Float[Tensor, ""]:
    """The feature-distribution consistency Psi - Phi, which the E-step minimises (in eq. 12).

    `sign` "code" returns Phi - Psi, as the authors' repository does (methods.md 1.3, row 15).
    Psi - Phi is unbounded below; with `phi_cap` a distance beyond the cap repels no further.

    >>> import torch
    >>> float(distribution_consistency(torch.tensor([[1.0, 5.0], [4.0, 3.0]]), torch.tensor([0, 1])))
    -2.5
    """
    repelled = distances if phi_cap is None else distances.clamp(max=phi_cap)
    value = attraction(distances, labels) - repulsion(repelled, labels)
    return value if sign == "paper" else -value
