"""Virtual features, drawn from the class Gaussians in balanced streams (section 3.4.1 of the paper)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lmd.losses.covariance import factorise
from lmd.losses.gaussian import ClassGaussians

# Floats of one chunk of draws: it stays near the processor's cache, and holds many batches. A GPU, which
# waits for whoever launches its work, draws more at once.
CHUNK, CHUNK_OF_GPU = 5 * 2**18, 2**24
# Blocks of columns in which a triangular factor is multiplied: 4 need 5/8 of the whole product.
BLOCKS = 4


class Chunk(NamedTuple):
    """The features start ... stop-1 of a stream, and the seed that draws them."""

    start: int
    stop: int
    seed: int


class _Block(NamedTuple):
    """Some columns of a triangular factor, without the zeros below them, and the means of those columns."""

    columns: slice
    mean: Tensor
    factor: Tensor


class VirtualFeatures:
    """The class Gaussians, factorised once, from which any number of features can be drawn.

        v = mu_k + L_k e,                      e ~ N(0, I_C)                       r >= C / 2
        v = mu_k + X_k^T u + sqrt(floor_k) e,  u ~ N(0, I_r), e ~ N(0, I_C)        r <  C / 2

    X_k has r rows: the centred features, divided by sqrt(n_k - 1), of all iterations that are averaged. Both
    have covariance Sigma_k exactly. The second needs no factorisation, and where r is far below C almost no
    arithmetic. From C / 2 rows on its second normals cost more than the half of L_k that is not zero
    (docs/speed.md). A class without a floor has no L_k there and is drawn from its rows all the same.
    """

    def __init__(self, gaussians: ClassGaussians, dtype: torch.dtype = torch.float32) -> None:
        """Takes what drawing needs from the Gaussians.

        Raises:
            ValueError: the covariance of a class that is to be factorised is not positive definite.
        """
        self.mean = gaussians.mean.to(dtype)
        self.floor = gaussians.floor.sqrt().to(dtype)
        self.roots: dict[int, Tensor] = {}
        self.triangles: dict[int, list[_Block]] = {}
        for k, spread in enumerate(gaussians.spread):
            if _is_drawn_from_rows(spread, gaussians.floor[k]):
                self.roots[k] = spread.to(dtype)
            else:
                upper = factorise(gaussians, k).T.contiguous().to(dtype)
                self.triangles[k] = _blocks(self.mean[k], upper)

    def stream(
        self, draws: int, batch: int, generator: torch.Generator
    ) -> Iterator[Float[Tensor, "batch channels"]]:
        """Yields batches of `draws` features in all; their classes come in turn: 0, 1, ... K-1, 0, 1, ..."""
        for chunk in self.chunks(draws, batch, generator):
            yield from self.draw(chunk).split(batch)

    def chunks(self, draws: int, batch: int, generator: torch.Generator) -> list[Chunk]:
        """Returns the chunks of whole batches that make up a stream; each may be drawn by another thread."""
        num_classes, channels = self.mean.shape
        floats = CHUNK if self.mean.device.type == "cpu" else CHUNK_OF_GPU
        size = batch * max(floats // (batch * channels), num_classes * 16 // batch, 1)
        starts = range(0, draws, size)
        # Seeds of their own make a chunk independent of who draws it and when.
        seeds = torch.randint(2**62, (len(starts),), generator=generator, device=generator.device).tolist()
        return [Chunk(a, min(a + size, draws), seed) for a, seed in zip(starts, seeds, strict=True)]

    def draw(self, chunk: Chunk) -> Float[Tensor, "draws channels"]:
        """Returns the features with the numbers start ... stop-1 of the stream; number t is of class t mod K.

        A class is drawn at once, into its rows: a strided slice.
        """
        num_classes, channels = self.mean.shape
        start, stop, seed = chunk
        generator = torch.Generator(self.mean.device).manual_seed(seed)
        features = self.mean.new_empty((stop - start, channels))
        for k in range(num_classes):
            rows = features[(k - start) % num_classes :: num_classes]
            white = self._normal((len(rows), channels), generator)
            if k in self.roots:
                tail = self._normal((len(rows), len(self.roots[k])), generator)
                torch.addcmul(self.mean[k], white, self.floor[k], out=rows).addmm_(tail, self.roots[k])
                continue
            for columns, mean, factor in self.triangles[k]:
                torch.addmm(mean, white[:, : len(factor)], factor, out=rows[:, columns])
        return features

    def _normal(self, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype)


def cheaper_from_rows(rows: Any, channels: int) -> Any:
    """Whether drawing from so many rows costs less than from a factor; `rows` may be an array.

    >>> cheaper_from_rows(255, 512), cheaper_from_rows(256, 512)
    (True, False)
    """
    return 2 * rows < channels


def _is_drawn_from_rows(spread: Tensor, floor: Tensor) -> bool:
    rows, channels = spread.shape
    return cheaper_from_rows(rows, channels) or (rows < channels and not bool(floor.all()))


def _blocks(mean: Tensor, upper: Tensor) -> list[_Block]:
    """Cuts L^T, a matrix with zeros below its diagonal, into blocks of columns that leave most zeros out."""
    channels = len(mean)
    width = math.ceil(channels / BLOCKS)
    parts = [slice(first, min(first + width, channels)) for first in range(0, channels, width)]
    return [_Block(part, mean[part], upper[: part.stop, part]) for part in parts]
