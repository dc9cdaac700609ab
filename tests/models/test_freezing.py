"""What stays as it is of an encoder: which layers, and that nothing moves them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.freezing import freeze, is_frozen, stem
from lmd.models.names import outline
from lmd.models.network import Network, batch_norms, mode, recalibrate_batch_norm
from lmd.models.teacher import Teacher

# One of each kind of network: what begins the names of its stem.
STEMS = {
    "resnet18": ("conv1.", "bn1."),
    "efficientnet_lite0": ("conv_stem.", "bn1."),
    "mobilenetv3_small_050": ("conv_stem.", "bn1."),
    "convnext_atto": ("stem.",),
    "vit_tiny_patch16_224": ("cls_token", "pos_embed", "patch_embed."),
    "swin_tiny_patch4_window7_224": ("patch_embed.",),
    "densenet121": ("features.conv0.", "features.norm0."),
    "regnetx_002": ("stem.",),
    # Of these timm says nothing.
    "caformer_s18": ("stem.",),
    "rdnet_tiny": ("stem.",),
}


@pytest.mark.parametrize("name", STEMS)
def test_the_stem_is_the_first_layers(name: str) -> None:
    encoder = outline(name, None)
    expected = [key for key, _ in encoder.named_parameters() if key.startswith(STEMS[name])]
    assert expected
    assert sorted(stem(encoder)) == sorted(expected)


def named(name: str) -> Network:
    torch.manual_seed(0)
    encoder = build_encoder(name, size=32)
    return Network(encoder, build_classifier("linear", num_features(encoder), 3, 0))


def moved(network: Network, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


def trained(network: Network, steps: int = 3) -> set[str]:
    """Names of what a few steps with momentum and decay have changed."""
    before = copy.deepcopy(network.state_dict())
    wanted = [value for value in network.parameters() if value.requires_grad]
    optimiser = torch.optim.SGD(wanted, 0.1, momentum=0.9, weight_decay=0.1)
    network.train()
    for _ in range(steps):
        optimiser.zero_grad()
        network(torch.randn(4, 3, 32, 32)).logits.square().sum().backward()
        optimiser.step()
    return moved(network, before)


ENCODERS = ["resnet18", "efficientnet_lite0", "mobilenetv3_small_050", "convnext_atto", "test_vit"]


@pytest.mark.parametrize("name", ENCODERS)
def test_training_moves_all_but_the_stem(name: str) -> None:
    network = named(name)
    first = [f"encoder.{key}" for key in stem(network.encoder)]
    modules = {key.rpartition(".")[0] for key in first}
    freeze(network.encoder, "stem")
    changed = trained(network)
    assert not {key for key in changed if key in first or key.rpartition(".")[0] in modules - {"encoder"}}
    weights = {key for key, _ in network.named_parameters()}
    assert changed & weights == weights - {*first}


@pytest.mark.parametrize("name", ENCODERS)
def test_training_moves_the_classifier_alone(name: str) -> None:
    network = named(name)
    freeze(network.encoder, "all")
    assert trained(network) == {"classifier.weight", "classifier.bias"}


def test_nothing_is_frozen_unless_asked_for() -> None:
    network = named("test_resnet")
    freeze(network.encoder, "none")
    assert all(value.requires_grad for value in network.parameters())
    assert all(part.training and not is_frozen(part) for part in network.modules())
    assert len(trained(network)) == len(network.state_dict())


def test_what_is_frozen_keeps_no_graph() -> None:
    network = named("test_resnet").train()
    freeze(network.encoder, "all")
    output = network(torch.randn(2, 3, 32, 32))
    assert output.features.grad_fn is None
    assert output.logits.grad_fn is not None


def frozen_stem() -> Network:
    network = named("test_resnet")
    freeze(network.encoder, "stem")
    return network


def statistics(network: Network) -> Tensor:
    encoder: Any = network.encoder
    return (
        encoder.bn1.running_mean.clone() if hasattr(encoder, "bn1") else encoder.stem.bn.running_mean.clone()
    )


@pytest.mark.parametrize("how", ["train", "encoder.train", "mode", "recalibrate", "teacher", "copy"])
def test_batch_norm_of_the_stem_stays_at_rest_whoever_wakes_the_network(how: str) -> None:
    network, images = frozen_stem(), torch.randn(4, 3, 32, 32) + 3
    before = statistics(network)
    if how == "train":
        network.eval().train()
    if how == "encoder.train":
        network.encoder.train()
    if how == "recalibrate":
        recalibrate_batch_norm(network.encoder, [images])
    if how == "teacher":
        network = Teacher(network, 0.9).network
    if how == "copy":
        network = copy.deepcopy(network).train()
    with mode(network, training=True):
        network(images)
    torch.testing.assert_close(statistics(network), before, rtol=0, atol=0)
    inner = [layer for layer in batch_norms(network.encoder) if not is_frozen(layer)]
    assert inner
    assert any(bool(layer.running_mean.abs().sum() > 0) for layer in inner)  # type: ignore[union-attr]


def test_a_copy_keeps_its_own_modules() -> None:
    """The method that holds a module at rest belongs to the copy: the original is not answered for it."""
    network = frozen_stem()
    twin = copy.deepcopy(network)
    first = next(part for part in twin.modules() if is_frozen(part))
    assert first.train() is first


def test_a_module_without_a_matcher_is_asked_for_its_first_part() -> None:
    encoder = nn.Sequential(nn.Identity(), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    assert stem(encoder) == ["1.weight", "1.bias"]
