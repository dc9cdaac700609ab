"""How unlike anything seen an image is: where its features point, and how long they are.

Features are divided by their length (Mueller and Hein 2025). The distance is then Mahalanobis' to the nearest
class, with one covariance for all classes (Lee, Lee, Lee, Shin 2018). The length itself counts as well: a
network answers images of another kind with short features. Of features as they are, the distance is
*smaller* for such images than for those of the data set.

The relative distance has that to all classes together taken from it (Ren, Fort, Liu, Roy, Padhy,
Lakshminarayanan 2021). `benchmarks/unlikeness.py` compares them; docs/sets.md has the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lmd.losses.gaussian import ClassGaussians

RIDGE = 5.0  # Times the mean variance of a channel, added to each: found by benchmarks/unlikeness.py.


@dataclass(frozen=True)
class Unlikeness:
    """What was seen, of features of length 1: the classes' means [K, C] and their covariance [C, C].

    `distances`, `lengths` and `scores` [V] are those of the validation images, in ascending order.
    """

    mean: Tensor
    covariance: Tensor
    distances: Tensor
    lengths: Tensor
    scores: Tensor

    @cached_property
    def _factor(self) -> Tensor:
        return torch.linalg.cholesky(self.covariance.double())

    def distance(self, features: Float[Tensor, "images channels"]) -> Float[Tensor, " images"]:
        """Returns the squared Mahalanobis distance of the direction to the nearest class."""
        return _nearest(directions(features), self.mean, self._factor).float()

    def score(self, features: Float[Tensor, "images channels"]) -> Float[Tensor, " images"]:
        """Returns -log p - log p': how rare so large a distance and so small a length are (Fisher 1932).

        Each p is the share of validation images that are at least as extreme, this one counted.
        """
        number = len(self.distances)
        nearer = torch.searchsorted(self.distances, self.distance(features))
        shorter = torch.searchsorted(self.lengths, length(features), right=True)
        rare = torch.stack([number - nearer, shorter]).double()
        return -torch.log((rare + 1) / (number + 1)).sum(0).float()

    def unlike(self, features: Float[Tensor, "images channels"]) -> np.ndarray:
        """Returns the share of the validation images that are less unlike, from 0 to 1 [N]."""
        less = torch.searchsorted(self.scores, self.score(features))
        return (less.double() / len(self.scores)).numpy()

    def as_dict(self) -> dict[str, Tensor]:
        """Returns plain tensors by name."""
        names = ("mean", "covariance", "distances", "lengths", "scores")
        return {name: getattr(self, name).contiguous() for name in names}


def unlikeness_from(
    gaussians: ClassGaussians, validation: Float[Tensor, "images channels"], ridge: float = RIDGE
) -> Unlikeness:
    """Returns what to measure unlikeness by, from class Gaussians of directions and validation features.

    All is rounded as it will be kept, so that a validation image has the same score later.
    """
    mean, covariance = seen_classes(gaussians).float(), shared_covariance(gaussians, ridge).float()
    nothing = torch.empty(0)
    begun = Unlikeness(mean, covariance, nothing, nothing, nothing)
    distances, lengths = begun.distance(validation).sort().values, length(validation).sort().values
    half = Unlikeness(mean, covariance, distances, lengths, nothing)
    return Unlikeness(mean, covariance, distances, lengths, half.score(validation).sort().values)


def directions(features: Float[Tensor, "images channels"]) -> Float[Tensor, "images channels"]:
    """Returns features of length 1; on the CPU."""
    return torch.nn.functional.normalize(features.cpu().double(), dim=1)


def length(features: Float[Tensor, "images channels"]) -> Float[Tensor, " images"]:
    """Returns the Euclidean length of each feature; on the CPU."""
    return features.cpu().double().norm(dim=1).float()


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
