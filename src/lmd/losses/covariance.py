"""Shrinkage of the class covariances, and their factors."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lmd.losses.gaussian import ClassGaussians, combine, dense

Shrinkage = Literal["ridge", "oas", "ledoit_wolf", "pooled", "diagonal"]


def shrink(
    gaussians: ClassGaussians,
    method: Shrinkage = "ridge",
    ridge: float = 0.01,
    coefficients: Tensor | None = None,
) -> ClassGaussians:
    """Regularises the covariances so that rare classes (N_k < C) can be inverted; adds ridge * I to all.

    - ridge: Sigma_k + ridge I, the authors' choice (docs/paper.md, row 17).
    - oas, ledoit_wolf: (1 - rho_k) S_k + rho_k tr(S_k)/C I, S_k the biased covariance as these estimators
      define it; rho from Chen et al. 2010, or given as `coefficients` [K] (`ledoit_wolf_coefficients`).
    - pooled: (1 - a_k) Sigma_k + a_k Sigma_pooled, a_k = C / (C + n_k) (Friedman 1989).
    - diagonal: the variances alone.
    """
    if method == "pooled":
        gaussians = _toward_the_pooled(gaussians)
    elif method == "diagonal":
        gaussians = _variances_alone(gaussians)
    elif method in ("oas", "ledoit_wolf"):
        gaussians = _toward_the_identity(gaussians, coefficients)
    return replace(gaussians, floor=gaussians.floor + ridge)


def _toward_the_pooled(gaussians: ClassGaussians) -> ClassGaussians:
    pooled = pooled_covariance(gaussians)
    shares = (len(pooled) / (len(pooled) + gaussians.counts)).tolist()
    parts = zip(shares, gaussians.spread, strict=True)
    return replace(gaussians, spread=tuple(combine([1 - a, a], [spread, pooled]) for a, spread in parts))


def _variances_alone(gaussians: ClassGaussians) -> ClassGaussians:
    variances = torch.stack([variances_of(spread) for spread in gaussians.spread])
    none = variances.new_zeros((0, variances.shape[1]))
    return replace(gaussians, spread=(none,) * len(variances), floor=gaussians.floor + variances)


def _toward_the_identity(gaussians: ClassGaussians, coefficients: Tensor | None) -> ClassGaussians:
    counts = gaussians.counts.clamp(min=1)
    biased = [
        combine([(n - 1) / n], [spread]) for n, spread in zip(counts.tolist(), gaussians.spread, strict=True)
    ]
    rho = oas_coefficients(biased, gaussians.counts) if coefficients is None else coefficients
    rho = rho.to(gaussians.mean)
    scale = torch.stack([variances_of(spread).mean() for spread in biased])
    spread = tuple(combine([1 - r], [part]) for r, part in zip(rho.tolist(), biased, strict=True))
    return replace(gaussians, spread=spread, floor=gaussians.floor + (rho * scale)[:, None])


def variances_of(spread: Float[Tensor, "rows channels"]) -> Float[Tensor, " channels"]:
    """Returns the diagonal of the covariance that a spread stands for."""
    return spread.diagonal() if len(spread) >= spread.shape[1] else spread.square().sum(0)


def pooled_covariance(gaussians: ClassGaussians) -> Float[Tensor, "channels channels"]:
    """The pooled within-class covariance, sum_k (n_k - 1) Sigma_k / sum_k (n_k - 1), floors included."""
    freedom = (gaussians.counts - 1).clamp(min=0).to(gaussians.mean)
    share = freedom / freedom.sum().clamp(min=1.0)
    return dense(combine(share.tolist(), gaussians.spread)) + torch.diag(share @ gaussians.floor)


def oas_coefficients(biased: list[Tensor], counts: Int[Tensor, " classes"]) -> Float[Tensor, " classes"]:
    """The shrinkage rho_k of the oracle approximating estimator (Chen, Wiesel, Eldar, Hero 2010).

        rho = min(1, (m + t^2) / ((n + 1) (m - t^2 / C))),   m = mean(S^2), t = tr(S) / C

    with m and t over the entries of S, as scikit-learn writes it; `biased` are the spreads of the S_k.
    """
    channels = biased[0].shape[1]
    # || X^T X ||_F = || X X^T ||_F: a root needs no C x C matrix.
    norms = [s if len(s) >= channels else s @ s.T for s in biased]
    alpha = torch.stack([norm.square().sum() for norm in norms]) / channels**2
    squared = torch.stack([variances_of(spread).mean() for spread in biased]).square()
    denominator = (counts.to(alpha) + 1.0) * (alpha - squared / channels)
    rho = (alpha + squared) / denominator.clamp(min=torch.finfo(alpha.dtype).tiny)
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


def factorise(gaussians: ClassGaussians, label: int) -> Float[Tensor, "channels channels"]:
    """The lower Cholesky factor L_k with L_k L_k^T = Sigma_k.

    Raises:
        ValueError: the covariance is not finite or not positive definite; the class is named.
    """
    covariance = gaussians.matrix(label)
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if bool(failed != 0) or not bool(torch.isfinite(factor).all()):
        raise not_positive_definite(gaussians, label)
    return factor


def not_positive_definite(gaussians: ClassGaussians, label: int) -> ValueError:
    """Returns the error that names a class whose covariance cannot be inverted."""
    draws, channels = int(gaussians.counts[label]), gaussians.mean.shape[1]
    return ValueError(
        f"the covariance of class {label} ({draws} draws, {channels} channels) is not positive definite"
    )
