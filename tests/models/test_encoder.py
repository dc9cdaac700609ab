"""Encoders: names, weights files, and what a wrong file is told."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lmd.errors import CheckpointError, SettingsError
from lmd.models.encoder import build_encoder, check_encoder, num_features
from lmd.models.names import architecture


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return {name: value.clone() for name, value in build_encoder("resnet18").state_dict().items()}


@pytest.mark.parametrize(("name", "channels"), [("resnet18", 512), ("mobilenetv3_small_050", 1024)])
def test_an_encoder_gives_features_of_its_channels(name: str, channels: int) -> None:
    """Also where a wider layer follows the pooling, as in MobileNetV3 (288 channels before it)."""
    encoder = build_encoder(name).eval()
    assert encoder(torch.randn(2, 3, 64, 64)).shape == (2, num_features(encoder)) == (2, channels)


def test_whole_weights_are_loaded_exactly(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    save_file({**weights, "fc.weight": torch.zeros(8, 512)}, tmp_path / "w.safetensors")
    encoder = build_encoder("resnet18", weights=str(tmp_path / "w.safetensors"))
    assert all(torch.equal(value, weights[name]) for name, value in encoder.state_dict().items())


def test_partial_weights_need_a_word_and_are_listed(
    tmp_path: Path, weights: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    part = {name: value for name, value in weights.items() if not name.startswith("layer4")}
    save_file(part, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"lack \d+ tensors \(in layer4\).*--partial-weights"):
        build_encoder("resnet18", weights=str(tmp_path / "w.safetensors"))
    with caplog.at_level(logging.WARNING):
        encoder = build_encoder("resnet18", weights=str(tmp_path / "w.safetensors"), partial_weights=True)
    assert "layer4" in caplog.text
    assert torch.equal(encoder.state_dict()["conv1.weight"], weights["conv1.weight"])
    assert not torch.equal(encoder.state_dict()["layer4.0.conv1.weight"], weights["layer4.0.conv1.weight"])


def test_wrong_weights_are_one_clear_error(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(CheckpointError, match="no weights file"):
        build_encoder("resnet18", weights=str(path))
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        build_encoder("resnet18", weights=str(path))
    save_file({**weights, "conv1.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(CheckpointError, match=r"conv1\.weight has shape \(2, 2\)"):
        build_encoder("resnet18", weights=str(path), partial_weights=True)
    save_file({"other": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="nothing of this encoder"):
        build_encoder("resnet18", weights=str(path), partial_weights=True)


def test_an_unknown_encoder_offers_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'resnet18'"):
        build_encoder("resnet_18")
    with pytest.raises(SettingsError, match="any timm name"):
        build_encoder("qqqqqqqq")


def test_the_real_partial_weights_fit(shared: Path) -> None:
    file = shared.parent / "weights" / "resnet18_imagenet_partial.safetensors"
    encoder = build_encoder("resnet18", weights=str(file), partial_weights=True)
    # ImageNet's first layer has filters of very different strength; a fresh one has not.
    assert encoder.state_dict()["conv1.weight"].flatten(1).norm(dim=1).std() > 0.2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tv_resnet50", "resnet50.tv_in1k"),
        ("gluon_resnet18_v1b", "resnet18.gluon_in1k"),
        ("vit_deit_tiny_patch16_224", "deit_tiny_patch16_224"),
    ],
)
def test_a_name_of_earlier_versions_of_timm_is_answered_with_todays(old: str, new: str) -> None:
    with pytest.raises(SettingsError, match=f"unknown encoder '{old}'; timm calls it '{new}' now"):
        check_encoder(old, size=64)
    assert architecture(new) == new.partition(".")[0]
