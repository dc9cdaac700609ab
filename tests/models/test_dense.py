"""The convolution as a matrix product, against the convolution itself."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lmd.models import dense
from lmd.models.dense import make_dense


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes of the matrices that maps were multiplied by, in order."""
    shapes: list[torch.Size] = []
    real = nn.functional.linear

    def noted(maps: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
        shapes.append(matrix.shape)
        return real(maps, matrix, bias)

    monkeypatch.setattr(dense.F, "linear", noted)
    return shapes


def both(size: tuple[int, int], **options: Any) -> tuple[Tensor, Tensor]:
    """What a convolution of 3 to 5 channels answers by itself, and made dense."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(**({"in_channels": 3, "out_channels": 5, "kernel_size": 3} | options)).double()
    maps = torch.randn(7, convolution.in_channels, *size, dtype=torch.float64)
    other = copy.deepcopy(convolution)
    make_dense(other)
    with torch.inference_mode():
        return convolution(maps), other(maps)


@pytest.mark.parametrize(
    ("size", "options", "shape"),
    [
        ((2, 2), {"padding": 1}, (20, 12)),
        ((1, 1), {"padding": 1}, (5, 3)),
        ((2, 1), {"padding": (1, 0), "kernel_size": (3, 1), "bias": False}, (10, 6)),
        ((4, 4), {"padding": 1, "stride": 2}, (20, 48)),
        ((3, 4), {"padding": 2, "stride": (2, 3), "dilation": 2}, (20, 36)),
        ((3, 3), {}, (5, 27)),
    ],
)
def test_the_product_is_the_convolution(
    size: tuple[int, int], options: dict[str, Any], shape: tuple[int, int], products: list[torch.Size]
) -> None:
    expected, found = both(size, **options)
    assert products == [shape]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((3, 3), {"padding": 1}),  # Nine pixels come out.
        ((2, 2), {"kernel_size": 1}),  # Three quarters of the matrix would be zeros.
        ((2, 2), {"padding": 1, "groups": 3, "out_channels": 6}),
        ((2, 2), {"padding": 1, "padding_mode": "reflect"}),
        ((2, 2), {"padding": "same"}),
    ],
)
def test_other_convolutions_stay(
    size: tuple[int, int], options: dict[str, Any], products: list[torch.Size]
) -> None:
    expected, found = both(size, **options)
    assert not products
    assert torch.equal(found, expected)


def test_a_matrix_that_is_too_large_is_not_made(
    monkeypatch: pytest.MonkeyPatch, products: list[torch.Size]
) -> None:
    monkeypatch.setattr(dense, "NUMBERS", 20 * 12)
    both((2, 2), padding=1)
    assert len(products) == 1
    monkeypatch.setattr(dense, "NUMBERS", 20 * 12 - 1)
    both((2, 2), padding=1)
    assert len(products) == 1


def test_maps_of_several_sizes_and_layouts(products: list[torch.Size]) -> None:
    convolution = nn.Conv2d(3, 5, 3, padding=1).double()
    other = copy.deepcopy(convolution)
    make_dense(other)
    with torch.inference_mode():
        for size in (2, 1, 6, 2):
            maps = torch.randn(4, 3, size, size, dtype=torch.float64)
            for layout in (torch.contiguous_format, torch.channels_last):
                found = other(maps.contiguous(memory_format=layout))
                torch.testing.assert_close(found, convolution(maps), rtol=1e-12, atol=1e-12)
    assert len(products) == 6
