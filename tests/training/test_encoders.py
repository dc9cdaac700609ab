"""Encoders through the command: refused before a folder is made, built again for prediction, normalised."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lmd import methods
from lmd.data.dataset.manifest import read_dataset
from lmd.data.decode.images import decode_small
from lmd.data.feed.scale import MEAN, STD
from lmd.data.feed.views import view
from lmd.evaluation.predict import load_model
from lmd.model_card import ModelCard
from lmd.models.encoder import build_encoder
from lmd.models.names import normalisation
from lmd.models.network import Network, Output
from lmd.run import RunFolder, read_model_card
from lmd.training import start as training
from tests import toy
from tests.command import Command, refused


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return toy.make_dataset(tmp_path / "toy").folder


def train(lmd: Command, data: Path, out: Path, *more: str) -> tuple[int, str, str]:
    small = ("--set", "batch=16", "--set", "stage1.epochs=1", "--set", "size=32")
    return lmd("train", data, "--out", out, "--method", "ce", "--budget", "smoke", *small, *more)


SCRATCH = ("--set", "pretrained=false")


def card(run: Path) -> ModelCard:
    return read_model_card(RunFolder(run))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("encoder=inception_v4", "size=64"), ("'inception_v4'", "64 pixels", "--set size=96")),
        (("encoder=resnet18.nope",), ("'resnet18'", "tag 'nope'", "a1_in1k")),
        (("encoder=hf-hub:timm/resnet18.a1_in1k",), ("no timm name", "--weights FILE")),
        (("encoder=timm/resnet18.a1_in1k",), ("no timm name",)),
    ],
)
def test_what_cannot_be_built_is_refused_before_anything_is_written(
    lmd: Command, data: Path, tmp_path: Path, settings: tuple[str, ...], words: tuple[str, ...]
) -> None:
    given = [text for setting in settings for text in ("--set", setting)]
    refused(train(lmd, data, tmp_path / "run", *SCRATCH, *given), *words)
    assert not (tmp_path / "run").exists()
    assert not (data / "cache").exists()


def test_reproduce_refuses_before_anything_is_written(lmd: Command, data: Path, tmp_path: Path) -> None:
    words = ("--data", data, "--out", tmp_path / "table", "--budget", "smoke", "--seeds", 1, *SCRATCH)
    result = lmd("reproduce", "table3", *words, "--set", "encoder=efficientformer_l1")
    refused(result, "'efficientformer_l1' cannot take images of 32 pixels", "--set size=224")
    assert not (tmp_path / "table").exists()


@pytest.mark.usefixtures("no_hub")
def test_weights_that_cannot_be_had_leave_no_folder(lmd: Command, data: Path, tmp_path: Path) -> None:
    result = train(lmd, data, tmp_path / "run", "--set", "encoder=test_resnet")
    refused(result, "cannot download the weights of 'test_resnet'", "--weights FILE")
    assert result[2].count("\n") == 1
    weights = tmp_path / "other.safetensors"
    save_file(dict(build_encoder("test_vit").state_dict()), weights)
    refused(train(lmd, data, tmp_path / "run", "--set", "encoder=test_resnet", "--weights", str(weights)))
    refused(train(lmd, data, tmp_path / "run", "--weights", "package:nope"), "unknown package 'nope'")
    assert not (tmp_path / "run").exists()


def test_a_network_of_fixed_size_is_built_again_for_its_size(
    lmd: Command, data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code, _, err = train(lmd, data, run, *SCRATCH, "--set", "encoder=test_vit.r160_in1k")
    assert code == 0, err
    assert card(run).encoder == "test_vit.r160_in1k"
    assert card(run).preprocessing.size == 32
    model = load_model(RunFolder(run))
    assert model.network.encoder.state_dict()["pos_embed"].shape[1] == 1 + (32 // 16) ** 2
    answers = model.predict(read_dataset(data).paths()[0])
    assert np.isfinite(answers.filter(like="p_").to_numpy()).all()


def test_the_normalisation_is_recorded_and_taken_over(lmd: Command, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    exact = ("--set", "encoder=test_resnet", "--set", "precision=fp32")
    code, _, err = train(lmd, data, run, *SCRATCH, *exact)
    assert code == 0, err
    assert normalisation("test_resnet") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert (card(run).preprocessing.mean, card(run).preprocessing.std) == normalisation("test_resnet")
    model = load_model(RunFolder(run))
    assert model.network.scale == normalisation("test_resnet")

    images = read_dataset(data)
    pixels = torch.from_numpy(np.stack([decode_small(images.paths()[0], 32, "none")]))
    expected = model.network.eval()(pixels / 255 * 2 - 1).logits.softmax(1)
    found = model.predict(images.paths()[0]).filter(like="p_").to_numpy()
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-4)

    made = json.loads((run / "model" / "model.json").read_text())
    # As earlier versions trained it.
    toy.as_earlier(run, preprocessing={**made["preprocessing"], "mean": list(MEAN), "std": list(STD)})
    small = ("--set", "batch=16", "--set", "size=32", "--set", "encoder=test_resnet")
    words = ("train", data, "--out", tmp_path / "next", "--method", "decoupling", "--budget", "smoke")
    refused(lmd(*words, *small, *SCRATCH, "--from", run), "--from", "normalised", "0.485")
    assert not (tmp_path / "next").exists()


def test_training_normalises_by_what_it_records(
    monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path
) -> None:
    """In the views of stage 1, the views of the E-step, and where features are extracted."""
    seen: list[tuple[float, float]] = []

    def watched(network: Network, images: Tensor) -> Output:
        seen.append((float(images.min()), float(images.max())))
        return forward(network, images)

    forward = Network.forward
    monkeypatch.setattr(Network, "forward", watched)
    for name in ("lmd", "cicl"):
        training.train(
            read_dataset(data), name, methods.settings_of(name, recipe=toy.recipe(name)), tmp_path / name
        )
    assert len(seen) > 20
    # Black is -1 and white is 1; with ImageNet's numbers they were -2.1 and 2.6.
    assert min(low for low, _ in seen) >= -1
    assert max(high for _, high in seen) <= 1
    assert min(low for low, _ in seen) < -0.5


def test_the_normalisation_is_that_of_the_encoder() -> None:
    assert normalisation("resnet18") == (MEAN, STD)
    assert normalisation("resnet18.a1_in1k") == (MEAN, STD)
    assert normalisation("tf_efficientnet_lite0") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize("name", ["clean", "weak", "strong"])
def test_views_are_normalised_by_what_they_are_given(name: str) -> None:
    pixels = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    index = torch.arange(6)
    usual = view(name, pixels, index, 1, 0)
    other = view(name, pixels, index, 1, 0, ((0.5, 0.4, 0.3), (0.2, 0.25, 0.5)))
    # Both are affine in the same pixels in [0, 1].
    pixel = usual * torch.tensor(STD).view(1, 3, 1, 1) + torch.tensor(MEAN).view(1, 3, 1, 1)
    expected = (pixel - torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)) / torch.tensor([0.2, 0.25, 0.5]).view(
        1, 3, 1, 1
    )
    torch.testing.assert_close(other, expected, atol=1e-5, rtol=1e-5)
