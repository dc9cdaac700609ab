"""Equation 7: virtual features, drawn from the class Gaussians in balanced streams."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from lmd.losses.covariance import factorise
from lmd.losses.gaussian import ClassGaussians

# Floats of one chunk of draws: it stays near the processor's cache, and holds many batches.
CHUNK = 2**20


class VirtualFeatures:
    """The class Gaussians, factorised once, from which any number of features can be drawn (eq. 7).

        v = mu_k + L_k e,                      e ~ N(0, I_C)                       N_k >= C
        v = mu_k + X_k^T u + sqrt(floor_k) e,  u ~ N(0, I_r), e ~ N(0, I_C)        N_k < C

    Both have covariance Sigma_k exactly. The second needs no factorisation, and where N_k is far below C
    almost no arithmetic: X_k are the centred features themselves, divided by sqrt(n_k - 1).
    """

    def __init__(self, gaussians: ClassGaussians, dtype: torch.dtype = torch.float32) -> None:
        """Takes what drawing needs from the Gaussians.

        Raises:
            SettingsError: the covariance of a class with N_k >= C is not positive definite.
        """
        self.mean = gaussians.mean.to(dtype)
        channels = self.mean.shape[1]
        self.is_root = [len(spread) < channels for spread in gaussians.spread]
        self.factors = [
            spread.to(dtype) if is_root else factorise(gaussians, k).T.contiguous().to(dtype)
            for k, (spread, is_root) in enumerate(zip(gaussians.spread, self.is_root, strict=True))
        ]
        self.floor = gaussians.floor.sqrt().to(dtype)

    def stream(
        self, draws: int, batch: int, generator: torch.Generator
    ) -> Iterator[Float[Tensor, "batch channels"]]:
        """Yields batches of `draws` features in all; their classes come in turn: 0, 1, ... K-1, 0, 1, ..."""
        for chunk in self.chunks(draws, batch, generator):
            yield from chunk.split(batch)

    def chunks(
        self, draws: int, batch: int, generator: torch.Generator
    ) -> Iterator[Float[Tensor, "chunk channels"]]:
        """Yields the same features in chunks of whole batches, as many as are drawn at once."""
        num_classes, channels = self.mean.shape
        batches = max(CHUNK // (batch * channels), num_classes * 16 // batch, 1)
        for start in range(0, draws, batches * batch):
            yield self.draw(start, min(start + batches * batch, draws), generator)

    def draw(self, start: int, stop: int, generator: torch.Generator) -> Float[Tensor, "draws channels"]:
        """Returns the features with the numbers start ... stop-1 of the stream; number t is of class t mod K.

        The rows of a class are a strided slice of the noise, which becomes the features in place.
        """
        num_classes, channels = self.mean.shape
        features = self._normal((stop - start, channels), generator)
        for k in range(num_classes):
            rows = features[(k - start) % num_classes :: num_classes]
            if self.is_root[k]:
                tail = self._normal((len(rows), len(self.factors[k])), generator)
                rows.mul_(self.floor[k]).add_(self.mean[k]).addmm_(tail, self.factors[k])
            else:
                rows.copy_(torch.addmm(self.mean[k], rows, self.factors[k]))
        return features

    def _normal(self, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype)
