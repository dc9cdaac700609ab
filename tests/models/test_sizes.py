"""Every family of timm at small, middle and usual sizes: it works, or it is refused in one line."""

from __future__ import annotations

import warnings
from functools import cache

import pytest
import timm
import torch
from torch import Tensor

from lmd.errors import SettingsError
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, check_encoder, num_features
from lmd.models.folding import at_rest
from lmd.models.names import normalisation, outline
from lmd.models.network import Network

LARGEST = 60e6  # Families whose smallest network has more weights are checked by their outline alone.


def images(size: int) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size))


def accepted(name: str, size: int) -> bool:
    """Whether the encoder takes that size; a refusal is one line that names the way out."""
    try:
        check_encoder(name, size=size)
    except SettingsError as error:
        told = str(error)
    else:
        return True
    assert "\n" not in told
    assert f"'{name}' cannot take images of {size} pixels" in told
    assert "--set" in told
    return False


def runs(name: str, size: int) -> None:
    """One step of training, and the same features at rest."""
    torch.manual_seed(0)
    encoder = build_encoder(name, size=size)
    channels = num_features(encoder)
    network = Network(encoder, build_classifier("linear", channels, 3, 0), normalisation(name)).train()
    output = network(images(size))
    assert output.features.shape == (2, channels)
    torch.nn.functional.cross_entropy(output.logits, torch.tensor([0, 2])).backward()
    gradients = [weight.grad for weight in encoder.parameters() if weight.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    with torch.inference_mode():
        expected = network.eval()(images(size))
        rested = at_rest(network, "fp32")(images(size))
    assert expected.features.shape == (2, channels)
    assert expected.features.isfinite().all()
    scale = expected.features.abs().max()
    assert (rested.features - expected.features).abs().max() <= 1e-3 * scale


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("vit_tiny_patch16_224", 64),  # positions for each patch
        ("test_vit", 32),
        ("mixer_s32_224", 32),  # a layer across patches
        ("levit_128s", 64),  # its class takes the size through its parent
        ("test_coatnet", 64),
        ("efficientformerv2_s0", 32),
        ("eca_botnext26ts_256", 64),
        ("tf_efficientnet_lite0", 32),
    ],
)
def test_an_encoder_is_built_for_the_size_that_is_asked_for(name: str, size: int) -> None:
    check_encoder(name, size=size)
    runs(name, size)


@pytest.mark.parametrize(
    ("name", "size", "good"),
    [
        ("inception_v4", 64, 96),  # more pixels
        ("efficientformer_l1", 64, 224),  # one size alone
        ("crossvit_tiny_240", 224, 240),
        ("vit_small_patch14_dinov2", 64, 70),  # a multiple of 14
    ],
)
def test_an_encoder_that_cannot_take_a_size_names_one_that_it_can(name: str, size: int, good: int) -> None:
    with pytest.raises(SettingsError, match=f"it can take {good} pixels: --set size={good}$"):
        check_encoder(name, size=size)
    check_encoder(name, size=good)


def test_checking_an_encoder_draws_nothing() -> None:
    before = torch.get_rng_state()
    check_encoder("test_vit", size=64)
    check_encoder("resnet18", size=64)
    assert torch.equal(before, torch.get_rng_state())


def test_the_weights_of_an_encoder_of_any_size_are_drawn_as_timm_draws_them() -> None:
    torch.manual_seed(5)
    expected = timm.create_model("resnet18", num_classes=0).state_dict()
    torch.manual_seed(5)
    check_encoder("resnet18", size=64)
    found = build_encoder("resnet18", size=64).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


@cache
def smallest() -> dict[str, tuple[str, int]]:
    """The network with the fewest weights of each family, by family, with that number."""
    found: dict[str, tuple[str, int]] = {}
    for family in timm.list_modules():
        sizes = {}
        for name in timm.list_models(module=family):
            sizes[name] = sum(weight.numel() for weight in outline(name, None).parameters())
        best = min(sizes, key=lambda name: sizes[name])
        found[family] = (best, sizes[best])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("family", timm.list_modules())
def test_every_family_works_or_is_refused(family: str) -> None:
    """At 32, 64 and 224 pixels, the smallest network of the family."""
    name, weights = smallest()[family]
    told = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # What networks that nobody asked for say of their own code.
        for size in (32, 64, 224):
            told.append("refused")
            if accepted(name, size):
                told[-1] = "shapes alone"
                if weights <= LARGEST:
                    runs(name, size)
                    told[-1] = "works"
    print(f"{family},{name},{weights},{','.join(told)}")
