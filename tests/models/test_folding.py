"""The network at rest computes what the trained one computes, and leaves it as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lmd.models import network as networks
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder
from lmd.models.folding import at_rest, fold_batch_norm
from lmd.models.network import Network, batch_norms


def network_of(encoder: nn.Module, channels: int) -> Network:
    """A network in double precision whose BatchNorm does something."""
    torch.manual_seed(0)
    for layer in batch_norms(encoder):
        assert layer.running_mean is not None
        assert layer.running_var is not None
        nn.init.normal_(layer.running_mean, 0, 0.3)
        nn.init.uniform_(layer.running_var, 0.5, 2)
        nn.init.uniform_(layer.weight, 0.5, 1.5)
        nn.init.normal_(layer.bias, 0, 0.3)
    return Network(encoder, build_classifier("linear", channels, 3, 0)).double().eval()


def named(name: str) -> Network:
    encoder = build_encoder(name)
    return network_of(encoder, encoder.num_features)  # type: ignore[arg-type]


@pytest.fixture
def normalised(monkeypatch: pytest.MonkeyPatch) -> Callable[[Network, Tensor], int]:
    """Counts the BatchNorm layers that a network computes."""
    calls: list[None] = []
    real = nn.functional.batch_norm

    def counted(*arguments: object, **options: object) -> Tensor:
        calls.append(None)
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(nn.functional, "batch_norm", counted)

    def count(network: Network, images: Tensor) -> int:
        calls.clear()
        network(images)
        return len(calls)

    return count


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("resnet18", 20, 0),
        ("test_efficientnet", 13, 0),  # timm's BatchNorm with an activation in it.
        ("tf_efficientnet_lite0", 49, 0),  # Convolutions that pad as TensorFlow's do.
        ("densenet121", 121, 62),  # Half of its BatchNorm follows a concatenation.
        ("mobilevit_xxs", 32, 32),  # torch.fx cannot trace it.
        ("convnext_atto", 0, 0),
    ],
)
def test_folded_it_answers_the_same(
    name: str, before: int, after: int, normalised: Callable[[Network, Tensor], int]
) -> None:
    network = named(name)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    folded = fold_batch_norm(network)
    with torch.no_grad():
        expected, found = network(images), folded(images)
        assert normalised(network, images) == before
        assert normalised(folded, images) == after
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_in_single_precision_the_difference_is_rounding() -> None:
    network = named("resnet18").float()
    images = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        expected, found = network(images), at_rest(network, "fp32")(images)
    assert not torch.equal(found.features, expected.features)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_in_bf16_not_a_bit_changes() -> None:
    network = named("resnet18").float()
    images = torch.randn(4, 3, 64, 64)
    rest = at_rest(network, "bf16")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected, found = network(images), rest(images)
    assert torch.equal(found.features, expected.features)
    assert torch.equal(found.logits, expected.logits)
    assert rest.encoder.conv1.weight.dtype == torch.bfloat16  # type: ignore[union-attr]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_matrices_of_small_maps_are_made_once(precision: str) -> None:
    """Those of four of ResNet-18's convolutions at 64 pixels."""
    rest = at_rest(named("resnet18").float(), precision)
    made: list[list[int]] = []
    for _ in range(2):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            rest(torch.randn(4, 3, 64, 64))
        dense: list[Any] = [part.forward for part in rest.encoder.modules() if type(part) is nn.Conv2d]
        made.append([id(matrix) for convolution in dense for matrix in convolution.matrices.values()])
    assert len(made[0]) == 4
    assert made[0] == made[1]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_trained_network_stays_as_it_was(precision: str) -> None:
    network = named("test_resnet").float().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rest = at_rest(network, precision)
    assert network.training
    assert not rest.training
    after = network.state_dict()
    assert list(before) == list(after)
    assert all(value.dtype == before[name].dtype for name, value in after.items())
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    network(torch.randn(4, 3, 32, 32)).logits.sum().backward()
    assert not torch.equal(network.encoder.bn1.running_mean, before["encoder.bn1.running_mean"])  # type: ignore[union-attr, arg-type]


class _Odd(nn.Module):
    """A convolution and a BatchNorm, joined in some way, and then pooled."""

    def __init__(
        self, joined: Callable[[_Odd, Tensor], Tensor], convolution: nn.Conv2d | None = None
    ) -> None:
        super().__init__()
        self.convolution = convolution or nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.joined = joined

    def forward(self, images: Tensor) -> Tensor:
        return self.joined(self, images).relu().mean((2, 3))


class _Standardised(nn.Conv2d):
    """A convolution that does not compute what its weights say."""

    def forward(self, images: Tensor) -> Tensor:
        return self._conv_forward(images, self.weight / self.weight.norm(), self.bias)


def _result_used_twice(odd: _Odd, images: Tensor) -> Tensor:
    middle = odd.convolution(images)
    return middle + odd.norm(middle)


ODD: dict[str, _Odd] = {
    "its result is used twice": _Odd(_result_used_twice),
    "called twice": _Odd(lambda odd, x: odd.norm(odd.convolution(odd.convolution(x)))),
    "BatchNorm called twice": _Odd(lambda odd, x: odd.norm(odd.norm(odd.convolution(x)))),
    "its weights are used elsewhere": _Odd(
        lambda odd, x: (
            odd.norm(odd.convolution(x)) + nn.functional.conv2d(x, odd.convolution.weight, padding=1)
        )
    ),
    "a subclass": _Odd(lambda odd, x: odd.norm(odd.convolution(x)), _Standardised(3, 3, 3, padding=1)),
    "BatchNorm first": _Odd(lambda odd, x: odd.convolution(odd.norm(x))),
}


@pytest.mark.parametrize("case", ODD)
def test_what_is_not_a_convolution_and_its_batch_norm_stays(
    case: str, normalised: Callable[[Network, Tensor], int]
) -> None:
    network = network_of(ODD[case], 3)
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    folded = fold_batch_norm(network)
    with torch.no_grad():
        assert torch.equal(folded(images).features, network(images).features)
        assert normalised(folded, images) == normalised(network, images) > 0


def test_batch_norm_of_the_batch_stays() -> None:
    """Without running statistics it normalises with those of the images before it."""
    odd = _Odd(lambda odd, x: odd.norm(odd.convolution(x)))
    odd.norm = nn.BatchNorm2d(3, track_running_stats=False)
    network = network_of(odd, 3)
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(fold_batch_norm(network)(images).features, network(images).features)


def test_a_second_name_for_a_layer_means_the_folded_one() -> None:
    odd = _Odd(lambda odd, x: odd.again(odd.convolution(x)))  # type: ignore[operator]
    odd.again = odd.norm
    network = network_of(odd, 3)
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    folded = fold_batch_norm(network)
    torch.testing.assert_close(folded(images).features, network(images).features, rtol=1e-10, atol=1e-10)
    with networks.mode(folded, training=False):
        assert not folded.training
