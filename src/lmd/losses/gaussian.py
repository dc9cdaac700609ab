"""Equations 6-7: class statistics, virtual features, and distances to the class Gaussians."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lmd.errors import SettingsError

Shrinkage = Literal["ridge", "oas", "ledoit_wolf", "pooled", "diagonal"]
Metric = Literal["precision", "covariance_literal", "pooled_precision", "diagonal", "euclidean"]


@dataclass(frozen=True)
class ClassGaussians:
    """One Gaussian for each class: mu_k [K, C], Sigma_k [K, C, C], and the draws behind them [K]."""

    mean: Tensor
    covariance: Tensor
    counts: Tensor

    def as_dict(self) -> dict[str, Tensor]:
        """Returns the tensors by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, tensors: dict[str, Tensor]) -> ClassGaussians:
        """Returns the Gaussians that `as_dict` gave."""
        return cls(**tensors)

    def to(self, *arguments: Any) -> ClassGaussians:
        """Returns the Gaussians on another device or in another precision; counts stay whole numbers."""
        return ClassGaussians(
            self.mean.to(*arguments),
            self.covariance.to(*arguments),
            self.counts.to(self.mean.to(*arguments).device),
        )


@torch.no_grad()
def class_statistics(
    features: Float[Tensor, "images channels"],
    labels: Int[Tensor, " images"],
    num_classes: int,
    weights: Tensor | None = None,
) -> ClassGaussians:
    """Estimates mean and unbiased covariance of each class (eq. 6), in double precision.

        mu_k = (1/n_k) sum_i w_i z_i,   n_k = sum_i w_i
        Sigma_k = (1/(n_k - 1)) sum_i w_i (z_i - mu_k)(z_i - mu_k)^T

    `weights` says how often each row counts, as if it were repeated. A class with one draw has covariance
    0; an absent class has mean, covariance and count 0, and `smooth` then keeps what was known of it.

    >>> statistics = class_statistics(torch.tensor([[0.0], [2.0], [5.0]]), torch.tensor([0, 0, 1]), 2)
    >>> statistics.mean.flatten().tolist(), statistics.covariance.flatten().tolist()
    ([1.0, 5.0], [2.0, 0.0])
    """
    weight = torch.ones_like(labels) if weights is None else weights
    parts = [
        _mean_and_covariance(features[labels == k].double(), weight[labels == k].double())
        for k in range(num_classes)
    ]
    mean, covariance = (torch.stack(part) for part in zip(*parts, strict=True))
    counts = torch.zeros(num_classes, dtype=torch.int64, device=labels.device)
    return ClassGaussians(mean, covariance, counts.index_add_(0, labels.long(), weight.long()))


def _mean_and_covariance(features: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    total = weights.sum()
    mean = (weights @ features) / total.clamp(min=1.0)
    centred = features - mean
    covariance = (centred * weights[:, None]).T @ centred / (total - 1.0).clamp(min=1.0)
    return mean, covariance


def smooth(
    previous: ClassGaussians | None, current: ClassGaussians, iteration: int, decay: float
) -> ClassGaussians:
    """Averages the statistics over iterations: S <- a S + (1 - a) S_now, a = min(1 - 1/(j+1), decay).

    Section 3.4.2 of the paper; j = `iteration` counts from 0, where a = 0 copies. Until a reaches `decay`
    this is the plain mean of all iterations. A class absent now keeps its previous statistics.
    """
    if previous is None or iteration == 0:
        return current
    keep = min(1.0 - 1.0 / (iteration + 1), decay)
    absent = current.counts == 0
    factor = torch.where(absent, 1.0, keep).to(current.mean)
    mean = factor[:, None] * previous.mean + (1 - factor[:, None]) * current.mean
    factor = factor[:, None, None]
    covariance = factor * previous.covariance + (1 - factor) * current.covariance
    return ClassGaussians(mean, covariance, torch.where(absent, previous.counts, current.counts))


def shrink(
    gaussians: ClassGaussians,
    method: Shrinkage = "ridge",
    ridge: float = 0.01,
    coefficients: Tensor | None = None,
) -> ClassGaussians:
    """Regularises the covariances so that rare classes (N_k < C) can be factorised; adds ridge * I to all.

    - ridge: Sigma_k + ridge I, the authors' choice (methods.md 1.3, row 17).
    - oas, ledoit_wolf: (1 - rho_k) S_k + rho_k tr(S_k)/C I, S_k the biased covariance as these estimators
      define it; rho from Chen et al. 2010, or given as `coefficients` [K] (`ledoit_wolf_coefficients`).
    - pooled: (1 - a_k) Sigma_k + a_k Sigma_pooled, a_k = C / (C + n_k) (Friedman 1989).
    - diagonal: the variances alone.
    """
    covariance = gaussians.covariance
    channels = covariance.shape[-1]
    identity = torch.eye(channels, dtype=covariance.dtype, device=covariance.device)
    if method == "pooled":
        share = channels / (channels + gaussians.counts.to(covariance)).view(-1, 1, 1)
        covariance = (1 - share) * covariance + share * pooled_covariance(gaussians)
    elif method == "diagonal":
        covariance = covariance * identity
    elif method in ("oas", "ledoit_wolf"):
        counts = gaussians.counts.to(covariance).clamp(min=1.0).view(-1, 1, 1)
        biased = covariance * (counts - 1) / counts
        rho = oas_coefficients(biased, gaussians.counts) if coefficients is None else coefficients
        rho = rho.to(covariance).view(-1, 1, 1)
        scale = biased.diagonal(dim1=1, dim2=2).mean(1).view(-1, 1, 1)
        covariance = (1 - rho) * biased + rho * scale * identity
    return ClassGaussians(gaussians.mean, covariance + ridge * identity, gaussians.counts)


def pooled_covariance(gaussians: ClassGaussians) -> Float[Tensor, "channels channels"]:
    """The pooled within-class covariance, sum_k (n_k - 1) Sigma_k / sum_k (n_k - 1)."""
    freedom = (gaussians.counts - 1).clamp(min=0).to(gaussians.covariance)
    return torch.einsum("k,kij->ij", freedom, gaussians.covariance) / freedom.sum().clamp(min=1.0)


def oas_coefficients(
    biased: Float[Tensor, "classes channels channels"], counts: Int[Tensor, " classes"]
) -> Float[Tensor, " classes"]:
    """The shrinkage rho_k of the oracle approximating estimator (Chen, Wiesel, Eldar, Hero 2010).

        rho = min(1, (m + t^2) / ((n + 1) (m - t^2 / C))),   m = mean(S^2), t = tr(S) / C

    with m and t over the entries of S, as scikit-learn writes it.
    """
    channels = biased.shape[-1]
    alpha = biased.square().mean((1, 2))
    squared = biased.diagonal(dim1=1, dim2=2).mean(1).square()
    denominator = (counts.to(biased) + 1.0) * (alpha - squared / channels)
    rho = (alpha + squared) / denominator.clamp(min=torch.finfo(biased.dtype).tiny)
    return torch.where(denominator > 0, rho.clamp(max=1.0), torch.ones_like(rho))


@torch.no_grad()
def ledoit_wolf_coefficients(
    features: Float[Tensor, "images channels"], labels: Int[Tensor, " images"], num_classes: int
) -> Float[Tensor, " classes"]:
    """The shrinkage of each class by Ledoit and Wolf (2004), from the features themselves.

    rho = min(beta, delta) / delta,   delta = ||S - t I||_F^2 / C,
    beta = (1/(n C)) ( (1/n) sum_i ||z_i||^4 - ||S||_F^2 ),   t = tr(S) / C
    """
    return torch.stack([_ledoit_wolf(features[labels == k].double()) for k in range(num_classes)])


def _ledoit_wolf(features: Tensor) -> Tensor:
    count, channels = features.shape
    if count < 2:
        return features.new_ones(())
    centred = features - features.mean(0)
    covariance = centred.T @ centred / count
    scale = covariance.diagonal().mean()
    norm = covariance.square().sum()
    delta = (norm - channels * scale.square()) / channels
    beta = (centred.square().sum(1).square().mean() - norm) / (count * channels)
    return torch.minimum(beta, delta) / delta.clamp(min=torch.finfo(features.dtype).tiny)


def factorise(
    covariance: Float[Tensor, "classes channels channels"],
) -> Float[Tensor, "classes channels channels"]:
    """The lower Cholesky factors L_k with L_k L_k^T = Sigma_k.

    Raises:
        SettingsError: a covariance is not finite or not positive definite; its class index is named.
    """
    factors, failed = torch.linalg.cholesky_ex(covariance)
    bad = (failed != 0) | ~torch.isfinite(covariance).flatten(1).all(1)
    if bool(bad.any()):
        index = int(bad.nonzero()[0])
        raise SettingsError(
            f"the covariance of class {index} is not positive definite: raise 'stage2.ridge' or choose "
            "another 'stage2.cov'"
        )
    return factors


def virtual_features(
    mean: Float[Tensor, "classes channels"],
    factors: Float[Tensor, "classes channels channels"],
    labels: Int[Tensor, " draws"],
    generator: torch.Generator,
) -> Float[Tensor, "draws channels"]:
    """Draws virtual features of the given classes (eq. 7): v = mu_k + L_k e, e ~ N(0, I)."""
    noise = torch.randn(len(labels), mean.shape[1], generator=generator, device=mean.device, dtype=mean.dtype)
    features = mean[labels]
    for k in range(len(mean)):  # One matrix product per class, whatever the order of the labels.
        rows = labels == k
        features[rows] += noise[rows] @ factors[k].T
    return features


@dataclass(frozen=True)
class ClassMetric:
    """How far features are from each class: mu_k, and what the metric needs, prepared once per iteration."""

    mean: Tensor
    factors: Tensor | None = None
    matrices: Tensor | None = None

    def distances(self, features: Float[Tensor, "batch channels"]) -> Float[Tensor, "batch classes"]:
        """Returns d_k(z) for each feature and class, differentiable in the features."""
        if self.factors is not None:
            return mahalanobis(features, self.mean, self.factors)
        centred = features[None] - self.mean[:, None]
        if self.matrices is None:
            return centred.square().sum(2).T
        return ((centred @ self.matrices) * centred).sum(2).T


def prepare_metric(
    gaussians: ClassGaussians, metric: Metric = "precision", dtype: torch.dtype = torch.float32
) -> ClassMetric:
    """Prepares the distance d_k of eq. 10-11 (methods.md 1.3, row 16).

    - precision: (z - mu_k)^T Sigma_k^{-1} (z - mu_k), the Mahalanobis distance that the text names.
    - covariance_literal: Sigma_k in place of its inverse, as the equations print it.
    - pooled_precision: one covariance for all classes. - diagonal: the variances alone. - euclidean.
    """
    mean, covariance = gaussians.mean.to(dtype), gaussians.covariance
    if metric == "euclidean":
        return ClassMetric(mean)
    if metric == "covariance_literal":
        return ClassMetric(mean, matrices=covariance.to(dtype))
    if metric == "pooled_precision":
        covariance = pooled_covariance(gaussians).expand_as(covariance)
    elif metric == "diagonal":
        covariance = torch.diag_embed(covariance.diagonal(dim1=1, dim2=2))
    return ClassMetric(mean, factors=factorise(covariance).to(dtype))


def mahalanobis(
    features: Float[Tensor, "batch channels"],
    mean: Float[Tensor, "classes channels"],
    factors: Float[Tensor, "classes channels channels"],
) -> Float[Tensor, "batch classes"]:
    """The squared Mahalanobis distance to each class, d_k(z) = || L_k^{-1} (z - mu_k) ||^2.

    >>> mahalanobis(torch.tensor([[3.0]]), torch.tensor([[1.0]]), torch.tensor([[[2.0]]]))
    tensor([[1.]])
    """
    centred = (features[None] - mean[:, None]).transpose(1, 2)  # [K, C, B]
    white = torch.linalg.solve_triangular(factors, centred, upper=False)
    return white.square().sum(1).T
