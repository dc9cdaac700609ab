"""Distances of features to the class Gaussians, which attraction and repulsion average."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lmd.losses.covariance import factorise, not_positive_definite, pooled_covariance, variances_of
from lmd.losses.gaussian import ClassGaussians

Metric = Literal["precision", "covariance_literal", "pooled_precision", "diagonal", "euclidean"]
# From centred features [B, C] to what their squared length is the distance of.
Whitening = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ClassMetric:
    """How far features are from each class: mu_k, and how the metric whitens, prepared once per iteration."""

    mean: Tensor
    whitenings: tuple[Whitening, ...]

    def distances(self, features: Float[Tensor, "batch channels"]) -> Float[Tensor, "batch classes"]:
        """Returns d_k(z) for each feature and class, differentiable in the features."""
        pairs = zip(self.mean, self.whitenings, strict=True)
        return torch.stack([whiten(features - mean).square().sum(1) for mean, whiten in pairs], dim=1)


@torch.no_grad()
def prepare_metric(
    gaussians: ClassGaussians, metric: Metric = "precision", dtype: torch.dtype = torch.float32
) -> ClassMetric:
    """Prepares the distance d_k to each class; see eq. 10 and eq. 11 (docs/paper.md, row 16).

    - precision: (z - mu_k)^T Sigma_k^{-1} (z - mu_k), the Mahalanobis distance that the text names.
    - covariance_literal: Sigma_k in place of its inverse, as the equations print it.
    - pooled_precision: one covariance for all classes. - diagonal: the variances alone. - euclidean.

    Raises:
        ValueError: a covariance that the metric inverts is not positive definite.

    >>> from lmd.losses.gaussian import class_statistics
    >>> four = class_statistics(torch.tensor([[-2.0], [0.0], [2.0]]), torch.zeros(3).long(), 1)  # variance 4
    >>> prepare_metric(four).distances(torch.tensor([[6.0]]))
    tensor([[9.]])
    """
    labels = range(len(gaussians.spread))
    if metric == "pooled_precision":
        shared = _pooled(gaussians, dtype)
        whitenings = [shared for _ in labels]
    elif metric == "euclidean":
        whitenings = [_scaled(torch.ones_like(gaussians.mean[k], dtype=dtype)) for k in labels]
    else:
        prepare = {"precision": _precision, "covariance_literal": _literal, "diagonal": _diagonal}[metric]
        whitenings = [prepare(gaussians, k, dtype) for k in labels]
    return ClassMetric(gaussians.mean.to(dtype), tuple(whitenings))


def _precision(gaussians: ClassGaussians, label: int, dtype: torch.dtype) -> Whitening:
    """L^{-1}, inverted once, so that a batch costs one product; or a root's inverse square root."""
    spread, channels = gaussians.spread[label], gaussians.mean.shape[1]
    if 2 * len(spread) <= channels:  # Beyond, two products with a root cost more than one with a matrix.
        return _low_rank(gaussians, label, dtype)
    factor = factorise(gaussians, label)
    identity = torch.eye(channels, dtype=factor.dtype, device=factor.device)
    return _matrix(torch.linalg.solve_triangular(factor, identity, upper=False).T.contiguous().to(dtype))


def _low_rank(gaussians: ClassGaussians, label: int, dtype: torch.dtype) -> Whitening:
    """Multiplies by (D + X^T X)^{-1/2} without a C x C matrix, D = diag(floor).

    With Y = X D^{-1/2} = U S Q, Q's rows orthonormal, (I + Y^T Y)^{-1/2} = I - Q^T (I - (1 + S^2)^{-1/2}) Q:
    what lies in the span of the images is damped, what lies outside is scaled by D alone. Unlike Woodbury's
    identity it never takes the difference of two large distances.
    """
    floor = gaussians.floor[label]
    if not bool((floor > 0).all()):
        raise not_positive_definite(gaussians, label)
    scale = floor.rsqrt()
    scaled = gaussians.spread[label] * scale
    squares, vectors = torch.linalg.eigh(scaled @ scaled.T)
    # Directions that the centred rows do not span carry rounding alone.
    spanned = squares > 1e-12 * squares.sum()
    squares, vectors = squares[spanned], vectors[:, spanned]
    basis = ((scaled.T @ vectors) * squares.rsqrt()).to(dtype)
    damping, scale = (1 - (1 + squares).rsqrt()).to(dtype), scale.to(dtype)

    def whiten(centred: Tensor) -> Tensor:
        scaled = centred * scale
        return scaled - ((scaled @ basis) * damping) @ basis.T

    return whiten


def _literal(gaussians: ClassGaussians, label: int, dtype: torch.dtype) -> Whitening:
    """Multiplies by a square root of Sigma itself."""
    spread, floor = gaussians.spread[label], gaussians.floor[label].sqrt().to(dtype)
    if len(spread) < spread.shape[1]:
        root = spread.T.to(dtype)
        return lambda centred: torch.cat([centred @ root, centred * floor], dim=1)
    values, vectors = torch.linalg.eigh(gaussians.matrix(label))
    return _matrix((vectors * values.clamp(min=0.0).sqrt()).to(dtype))


def _diagonal(gaussians: ClassGaussians, label: int, dtype: torch.dtype) -> Whitening:
    variances = variances_of(gaussians.spread[label]) + gaussians.floor[label]
    if not bool((variances > 0).all()):
        raise not_positive_definite(gaussians, label)
    return _scaled(variances.rsqrt().to(dtype))


def _pooled(gaussians: ClassGaussians, dtype: torch.dtype) -> Whitening:
    pooled = pooled_covariance(gaussians)
    one = ClassGaussians(gaussians.mean[:1], (pooled,), gaussians.counts.sum()[None], 0 * gaussians.floor[:1])
    return _precision(one, 0, dtype)


def _scaled(scale: Tensor) -> Whitening:
    return lambda centred: centred * scale


def _matrix(matrix: Tensor) -> Whitening:
    return lambda centred: centred @ matrix
