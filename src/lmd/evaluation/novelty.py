"""How unlike anything seen an image is: its distance to the class Gaussians of the features.

The distance is Mahalanobis' to the nearest class, with one covariance for all classes (Lee, Lee, Lee, Shin
2018). The relative distance has that to all classes together taken from it (Ren, Fort, Liu, Roy, Padhy,
Lakshminarayanan 2021). `benchmarks/novelty.py` compares them; docs/sets.md has the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lmd.losses.gaussian import ClassGaussians

RIDGE = 0.5  # Of the mean variance of a channel, added to each: found by benchmarks/novelty.py.


@dataclass(frozen=True)
class Familiar:
    """What was seen: the classes' means [K, C], their covariance [C, C], and distances of validation images.

    `reference` [V] are these distances in ascending order.
    """

    mean: Tensor
    covariance: Tensor
    reference: Tensor

    def distance(self, features: Float[Tensor, "images channels"]) -> Float[Tensor, " images"]:
        """Returns the squared Mahalanobis distance to the nearest class."""
        return _nearest(features, self.mean, self._factor)

    @cached_property
    def _factor(self) -> Tensor:
        return torch.linalg.cholesky(self.covariance.double())

    def unlike(self, features: Float[Tensor, "images channels"]) -> np.ndarray:
        """Returns the share of the validation images that are less unlike, from 0 to 1 [N]."""
        distance = self.distance(features)
        less = torch.searchsorted(self.reference, distance.to(self.reference))
        return (less.double() / len(self.reference)).numpy()

    def as_dict(self) -> dict[str, Tensor]:
        """Returns plain tensors by name, in fp32 on the CPU."""
        parts = {"mean": self.mean, "covariance": self.covariance, "reference": self.reference}
        return {name: value.to("cpu", torch.float32).contiguous() for name, value in parts.items()}


def familiar(
    gaussians: ClassGaussians, validation: Float[Tensor, "images channels"], ridge: float = RIDGE
) -> Familiar:
    """Returns what to measure unlikeness by: class Gaussians, and the features of validation images.

    All is rounded as it will be kept, so that a validation image has the same distance later.
    """
    mean, covariance = seen_classes(gaussians).float(), shared_covariance(gaussians, ridge).float()
    return Familiar(mean, covariance, nearest(validation, mean, covariance).float().sort().values)


def seen_classes(gaussians: ClassGaussians) -> Float[Tensor, "seen channels"]:
    """Returns the means of the classes that have images."""
    return gaussians.mean[gaussians.counts > 0].double()


def shared_covariance(gaussians: ClassGaussians, ridge: float = RIDGE) -> Float[Tensor, "channels channels"]:
    """Returns the mean of the classes' covariances, each class counting the same, with a ridge.

    A class of one image has no covariance, and is left out.
    """
    several = [k for k, count in enumerate(gaussians.counts.tolist()) if count > 1]
    total = torch.zeros_like(gaussians.mean[:1].T @ gaussians.mean[:1]).double()
    for k in several:
        total += gaussians.matrix(k).double() / len(several)
    return _with_ridge(total, ridge)


def _with_ridge(covariance: Tensor, ridge: float) -> Tensor:
    """Adds a share of the mean variance to each channel; 1 where nothing varies."""
    scale = covariance.diagonal().mean()
    added = ridge * scale if scale > 0 else torch.ones_like(scale)
    return covariance + added * torch.eye(len(covariance)).to(covariance)


def nearest(features: Tensor, means: Tensor, covariance: Tensor) -> Float[Tensor, " images"]:
    """Returns min_k (z - mu_k)^T Sigma^{-1} (z - mu_k) of each feature z [N, C].

    >>> nearest(torch.tensor([[3.0], [9.0]]), torch.tensor([[1.0], [8.0]]), torch.tensor([[4.0]]))
    tensor([1.0000, 0.2500], dtype=torch.float64)
    """
    return _nearest(features, means, torch.linalg.cholesky(covariance.double()))


def _nearest(features: Tensor, means: Tensor, factor: Tensor) -> Tensor:
    """The same with the Cholesky factor of the covariance; in double precision on the CPU."""

    def whitened(rows: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(factor, rows.to(factor).T, upper=False).T

    points = whitened(features)
    best = torch.full_like(points[:, 0], torch.inf)
    for mean in whitened(means):
        best = torch.minimum(best, (points - mean).square().sum(1))
    return best


def relative(
    features: Float[Tensor, "images channels"], gaussians: ClassGaussians, ridge: float = RIDGE
) -> Float[Tensor, " images"]:
    """Returns the distance to the nearest class less that to one Gaussian of all classes (Ren et al. 2021).

        min_k d(z; mu_k, Sigma) - d(z; mu_0, Sigma_0)

    Sigma_0 = Sigma + the mean of (mu_k - mu_0)(mu_k - mu_0)^T; each class counts the same.
    """
    means, covariance = seen_classes(gaussians), shared_covariance(gaussians, 0.0)
    middle = means.mean(0, keepdim=True)
    between = (means - middle).T @ (means - middle) / len(means)
    own = nearest(features, means, shared_covariance(gaussians, ridge))
    return own - nearest(features, middle, _with_ridge(covariance + between, ridge))
