"""The convolution as a matrix product, against the convolution itself."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from lmd.models import dense
from lmd.models.dense import make_dense
from lmd.models.encoder import build_encoder
from lmd.models.network import batch_norms


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


@pytest.mark.parametrize(("size", "stride", "bias"), [((2, 2), 1, True), ((4, 3), 2, False)])
def test_gradcheck(size: tuple[int, int], stride: int, bias: bool, products: list[torch.Size]) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(2, 3, 3, padding=1, stride=stride, bias=bias).double()
    make_dense(convolution)
    maps = torch.randn(3, 2, *size, dtype=torch.float64, requires_grad=True)
    parameters = dict(convolution.named_parameters())

    def answer(maps: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(convolution, dict(zip(parameters, values, strict=True)), maps)

    torch.autograd.gradcheck(answer, (maps, *parameters.values()))
    assert products


def test_in_half_precision_a_gradient_is_as_exact_as_the_convolutions() -> None:
    """Against double precision; the sum over the places where a weight is used is not rounded to half."""
    torch.manual_seed(0)
    exact = nn.Conv2d(64, 64, 3, padding=1, bias=False).double()
    maps = torch.randn(32, 64, 2, 2, dtype=torch.float64)
    plain, other = (copy.deepcopy(exact).float() for _ in range(2))
    make_dense(other)
    exact(maps).square().mean().backward()
    errors = []
    for network in (plain, other):
        with torch.autocast("cpu", torch.bfloat16):
            network(maps.float()).float().square().mean().backward()
        assert network.weight.grad is not None
        assert network.weight.grad.dtype == torch.float32
        errors.append(float((network.weight.grad - exact.weight.grad).norm() / exact.weight.grad.norm()))
    assert errors[1] < 1.1 * errors[0] < 0.01


def test_weights_that_change_are_used_as_they_are() -> None:
    convolution = nn.Conv2d(3, 5, 3, padding=1)
    make_dense(convolution)
    maps = torch.randn(4, 3, 2, 2)
    before = convolution(maps)
    with torch.no_grad():
        convolution.weight.mul_(2.0)
        convolution.bias.mul_(2.0)  # type: ignore[union-attr]
    torch.testing.assert_close(convolution(maps), 2 * before)


def test_a_copy_has_weights_of_its_own() -> None:
    """The teacher is a copy of the student."""
    convolution = nn.Conv2d(3, 5, 3, padding=1)
    make_dense(convolution)
    other = copy.deepcopy(convolution)
    nn.init.zeros_(convolution.weight)
    with torch.no_grad():
        maps = torch.randn(4, 3, 2, 2)
        assert float(convolution(maps).std(0).max()) == 0.0
        assert float(other(maps).std(0).max()) > 0.0


def test_maps_of_several_sizes_and_layouts(products: list[torch.Size]) -> None:
    convolution = nn.Conv2d(3, 5, 3, padding=1).double()
    other = copy.deepcopy(convolution)
    make_dense(other, fixed=True)
    with torch.inference_mode():
        for size in (2, 1, 6, 2):
            maps = torch.randn(4, 3, size, size, dtype=torch.float64)
            for layout in (torch.contiguous_format, torch.channels_last):
                found = other(maps.contiguous(memory_format=layout))
                torch.testing.assert_close(found, convolution(maps), rtol=1e-12, atol=1e-12)
    assert len(products) == 6


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-4), ("bf16", 0.1)])
def test_an_encoder_answers_and_learns_as_timms_does(precision: str, bound: float) -> None:
    """Four convolutions of ResNet-18 are products at 64 pixels; relative to the norm of all that is compared.

    The bounds allow rounding in twenty layers, whose error BatchNorm over a few pixels makes larger.
    """
    torch.manual_seed(0)
    encoder = build_encoder("resnet18")
    for layer in batch_norms(encoder):
        nn.init.uniform_(layer.weight, 0.5, 1.5)  # timm's zeros would hide the last layer of each block.
    timms = timm.create_model("resnet18", num_classes=0)
    timms.load_state_dict(encoder.state_dict())
    images = torch.randn(16, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    found, expected = (results(network, images, precision) for network in (encoder, timms))
    assert not torch.equal(found[-1], expected[-1])
    for mine, other in zip(found, expected, strict=True):
        assert float((mine - other).norm() / other.norm()) < bound


def results(encoder: Any, images: Tensor, precision: str) -> list[Tensor]:
    """The features, and the gradients of the last block's weights and of the first layer's."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        features = encoder(images).float()
    (features * torch.linspace(-1, 1, 16)[:, None]).square().mean().backward()
    return [features.detach(), encoder.layer4[1].conv2.weight.grad, encoder.conv1.weight.grad]
