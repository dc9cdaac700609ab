"""A convolution of maps of a few pixels as one matrix product: on a CPU many times faster."""

from __future__ import annotations

import math
from itertools import product
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# A convolution stays one where its results are larger than 2 x 2 pixels, or its matrix would have more
# numbers or a smaller share of them that are not zero (docs/speed.md).
PIXELS, NUMBERS, FILLED = 4, 2**24, 1 / 3


def make_dense(encoder: nn.Module, fixed: bool = False) -> None:
    """Lets the plain convolutions of an encoder, in place, multiply by a matrix where their maps are small.

    With maps of H x W pixels as vectors x, a convolution is y = A x + b for a matrix A that holds each of its
    weights up to H' W' times. Where the kernel reaches most pixels from most others, A has few zeros, and
    processors are at their best in a plain product. Answers and gradients are the same to rounding. Where
    the weights are `fixed`, A is made once for each size of maps, else for each batch. GPUs convolve.
    """
    for part in encoder.modules():
        if type(part) is nn.Conv2d and _is_plain(part):
            # The module stays, with its weights and its name; it only computes in another way.
            cast("Any", part).forward = _Dense(part, fixed)


def undo_dense(encoder: nn.Module) -> None:
    """Lets the convolutions of an encoder, in place, convolve again: takes back what `make_dense` did."""
    for part in encoder.modules():
        if isinstance(vars(part).get("forward"), _Dense):
            del part.forward


def _is_plain(convolution: nn.Conv2d) -> bool:
    zeros = convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)
    return convolution.groups == 1 and zeros


class _Geometry(NamedTuple):
    """What a convolution does with maps of H x W pixels: H' x W' come out, and which from which.

    Along each axis: (place in the result, place in the map, place in the kernel).
    """

    old: tuple[int, int]
    new: tuple[int, int]
    rows: list[tuple[int, int, int]]
    columns: list[tuple[int, int, int]]

    @property
    def filled(self) -> float:
        """The share of the matrix that holds weights."""
        return len(self.rows) * len(self.columns) / (math.prod(self.old) * math.prod(self.new))


class _Dense:
    """What a convolution does instead."""

    def __init__(self, convolution: nn.Conv2d, fixed: bool) -> None:
        self.convolution = convolution
        self.fixed = fixed
        self.geometries: dict[tuple[int, int], _Geometry | None] = {}
        self.matrices: dict[tuple[int, int], Tensor] = {}

    def __call__(self, maps: Tensor) -> Tensor:
        """Returns the maps [B, C', H', W'] of maps [B, C, H, W]."""
        size = (maps.shape[2], maps.shape[3])
        if size not in self.geometries:
            self.geometries[size] = _geometry(self.convolution, size)
        geometry = self.geometries[size]
        if geometry is None or maps.device.type != "cpu":
            return nn.Conv2d.forward(self.convolution, maps)
        bias = self.convolution.bias
        # Pixel by pixel: in channels-last memory neither the way there nor the way back moves a number.
        result = F.linear(
            maps.permute(0, 2, 3, 1).flatten(1),
            self._matrix(geometry),
            None if bias is None else bias.repeat(math.prod(geometry.new)),
        )
        return result.unflatten(1, (*geometry.new, -1)).permute(0, 3, 1, 2)

    def _matrix(self, geometry: _Geometry) -> Tensor:
        if geometry.old in self.matrices:
            return self.matrices[geometry.old]
        matrix = cast("Tensor", _Matrix.apply(self.convolution.weight, geometry))
        if self.fixed:
            self.matrices[geometry.old] = matrix.detach()
        return matrix


class _Matrix(torch.autograd.Function):
    """The matrix A [H' W' C', H W C] of weights [C', C, height, width], in the precision of autocast.

    The gradient of a weight is the sum over the places where A holds it, in the weight's own precision.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, geometry: _Geometry) -> Tensor:  # type: ignore[bad-override]
        ctx.geometry, ctx.shape, ctx.dtype = geometry, weight.shape, weight.dtype
        autocast = torch.is_autocast_enabled("cpu")
        blocks = weight.to(torch.get_autocast_dtype("cpu") if autocast else weight.dtype)
        blocks = blocks.permute(2, 3, 0, 1).contiguous()
        empty = blocks.new_empty if geometry.filled == 1 else blocks.new_zeros
        matrix = empty((*geometry.new, weight.shape[0], *geometry.old, weight.shape[1]))
        for (row, from_row, down), (column, from_column, right) in product(geometry.rows, geometry.columns):
            matrix[row, column, :, from_row, from_column] = blocks[down, right]
        return matrix.flatten(3).flatten(0, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[bad-override]
        geometry: _Geometry = ctx.geometry
        after, before, height, width = ctx.shape
        gradient = gradient.reshape(*geometry.new, after, *geometry.old, before)
        total = gradient.new_zeros(height, width, after, before, dtype=ctx.dtype)
        for (row, from_row, down), (column, from_column, right) in product(geometry.rows, geometry.columns):
            total[down, right] += gradient[row, column, :, from_row, from_column]
        return total.permute(2, 3, 0, 1), None


def _geometry(convolution: nn.Conv2d, size: tuple[int, int]) -> _Geometry | None:
    """Returns what there is to do for maps of a size; None where a product does not pay."""
    rows, columns = (_reach(convolution, axis, size[axis]) for axis in (0, 1))
    if not rows or not columns:  # The kernel is larger than the map: the convolution says so.
        return None
    new = (1 + max(place for place, _, _ in rows), 1 + max(place for place, _, _ in columns))
    geometry = _Geometry(size, new, rows, columns)
    blocks = math.prod(new) * math.prod(size)
    numbers = blocks * convolution.in_channels * convolution.out_channels
    pays = math.prod(new) <= PIXELS and numbers <= NUMBERS and geometry.filled >= FILLED
    return geometry if pays else None


def _reach(convolution: nn.Conv2d, axis: int, length: int) -> list[tuple[int, int, int]]:
    """Along one axis: which place of the result comes from which place of the map by which of the kernel."""
    kernel, stride = convolution.kernel_size[axis], convolution.stride[axis]
    padding, dilation = int(convolution.padding[axis]), convolution.dilation[axis]
    places = range((length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1)
    triples = [(out, out * stride + k * dilation - padding, k) for out in places for k in range(kernel)]
    return [triple for triple in triples if 0 <= triple[1] < length]
