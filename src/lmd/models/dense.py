"""A convolution of maps of a few pixels as one matrix product: at rest, and on a CPU, many times faster."""

from __future__ import annotations

import math
from itertools import product
from typing import Any, NamedTuple, cast

import torch.nn.functional as F
from torch import Tensor, nn

# A convolution stays one where its results are larger than 2 x 2 pixels, or its matrix would have more
# numbers or a smaller share of them that are not zero (docs/speed.md).
PIXELS, NUMBERS, FILLED = 4, 2**24, 1 / 3


def make_dense(encoder: nn.Module) -> None:
    """Lets the plain convolutions of an encoder, in place, multiply by a matrix where their maps are small.

    With maps of H x W pixels as vectors x, a convolution is y = A x + b for a matrix A that holds each of its
    weights up to H' W' times. Where the kernel reaches most pixels from most others, A has few zeros, and
    processors are at their best in a plain product. The answers are the same to rounding. The weights must
    not change any more.
    """
    for part in encoder.modules():
        if type(part) is nn.Conv2d and _is_plain(part):
            cast("Any", part).forward = _Dense(part)


def _is_plain(convolution: nn.Conv2d) -> bool:
    zeros = convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)
    return convolution.groups == 1 and zeros


class _Layout(NamedTuple):
    """The matrix [H' W' C', H W C] of a convolution for one size of maps, its bias [H' W' C'], and H', W'."""

    matrix: Tensor
    bias: Tensor | None
    size: tuple[int, int]


class _Dense:
    """What a convolution does instead: it makes the matrix for each size of maps that comes, once."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        self.convolution = convolution
        self.convolve = convolution.forward
        self.layouts: dict[tuple[int, int], _Layout | None] = {}

    def __call__(self, maps: Tensor) -> Tensor:
        """Returns the maps [B, C', H', W'] of maps [B, C, H, W]."""
        size = (maps.shape[2], maps.shape[3])
        if size not in self.layouts:
            self.layouts[size] = _layout(self.convolution, size)
        layout = self.layouts[size]
        if layout is None:
            return self.convolve(maps)
        # Pixel by pixel: in channels-last memory neither the way there nor the way back moves a number.
        result = F.linear(maps.permute(0, 2, 3, 1).flatten(1), layout.matrix, layout.bias)
        return result.unflatten(1, (*layout.size, -1)).permute(0, 3, 1, 2)


def _layout(convolution: nn.Conv2d, size: tuple[int, int]) -> _Layout | None:
    """Returns the matrix for maps of a size; None where it does not pay."""
    weight = convolution.weight.detach()
    steps = [_reach(convolution, axis, size[axis]) for axis in (0, 1)]
    new = (1 + max(out for out, _, _ in steps[0]), 1 + max(out for out, _, _ in steps[1]))
    pixels, blocks = math.prod(new), math.prod(new) * math.prod(size)
    filled = len(steps[0]) * len(steps[1]) / blocks
    if pixels > PIXELS or filled < FILLED or blocks * weight[:, :, 0, 0].numel() > NUMBERS:
        return None
    matrix = weight.new_zeros(*new, len(weight), *size, weight.shape[1])
    for (row, from_row, down), (column, from_column, right) in product(*steps):
        matrix[row, column, :, from_row, from_column] = weight[:, :, down, right]
    bias = None if convolution.bias is None else convolution.bias.detach().repeat(pixels)
    return _Layout(matrix.flatten(3).flatten(0, 2), bias, new)


def _reach(convolution: nn.Conv2d, axis: int, length: int) -> list[tuple[int, int, int]]:
    """Along one axis: which place of the result comes from which place of the map by which of the kernel."""
    kernel, stride = convolution.kernel_size[axis], convolution.stride[axis]
    padding, dilation = int(convolution.padding[axis]), convolution.dilation[axis]
    places = range((length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1)
    triples = [(out, out * stride + k * dilation - padding, k) for out in places for k in range(kernel)]
    return [triple for triple in triples if 0 <= triple[1] < length]
