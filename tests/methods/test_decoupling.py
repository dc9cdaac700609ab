"""Decoupling: each of the four classifiers against what it must equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid
from torch import Tensor

from lmd.data.decode.cache import open_cache
from lmd.data.feed.loader import ImageSet, image_set
from lmd.errors import SettingsError
from lmd.methods import decoupling
from lmd.methods.decoupling import ScaleLearning, over_norm
from lmd.models.classifier import CosineClassifier, LinearClassifier, PrototypeClassifier, build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.inference import encode
from lmd.models.network import Network
from lmd.runtime import Runtime
from lmd.settings import merge, resolve
from lmd.stages.base import Stage, StageContext
from tests import toy


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageSet, ImageSet]:
    dataset = toy.make_dataset(tmp_path_factory.mktemp("toy"))
    pixels = open_cache(dataset, 16, "none")
    return image_set(dataset, "train", pixels), image_set(dataset, "val", pixels)


def second_stage(sets: tuple[ImageSet, ImageSet], variant: str, **changes: Any) -> tuple[Stage, Network]:
    """A prepared second stage on a network whose classes differ in the norms of their weights."""
    settings = resolve(decoupling.Settings, merge(toy.COMMON, {"stage2": {"variant": variant, **changes}}))
    torch.manual_seed(3)
    encoder = build_encoder("test_resnet")
    network = Network(encoder, build_classifier("linear", num_features(encoder), 3, 5))
    head = cast("LinearClassifier", network.classifier)
    with torch.no_grad():
        head.weight.mul_(torch.tensor([3.0, 1.0, 0.5])[:, None])
        head.bias.copy_(torch.tensor([2.0, -1.0, 0.0]))
    stage = decoupling.stages(settings, sets[0].counts)[1]
    stage.prepare(StageContext(network, sets[0], Runtime(), lambda done, total: None, sets[1]))
    return stage, network


def logits_of(network: Network, images: ImageSet) -> Tensor:
    return encode(network, images, Runtime()).logits.clone()


def head_of(network: Network) -> LinearClassifier:
    return cast("LinearClassifier", network.classifier)


def test_a_power_of_zero_is_the_old_classifier_without_its_bias(sets: tuple[ImageSet, ImageSet]) -> None:
    stage, network = second_stage(sets, "tau_norm", norm_power=0.0)
    before, bias = logits_of(network, sets[1]), head_of(network).bias.detach().clone()
    assert stage.run_epoch(0) == {"norm_power": 0.0}
    torch.testing.assert_close(logits_of(network, sets[1]), before - bias)


@pytest.mark.parametrize("power", [0.3, 1.0, 2.0])
def test_the_power_of_the_norm_is_divided_out(sets: tuple[ImageSet, ImageSet], power: float) -> None:
    stage, network = second_stage(sets, "tau_norm", norm_power=power)
    before = head_of(network).weight.norm(dim=1).detach()
    stage.run_epoch(0)
    torch.testing.assert_close(head_of(network).weight.norm(dim=1).detach(), before ** (1 - power))


def test_a_class_without_weights_stays_finite() -> None:
    assert torch.equal(over_norm(torch.zeros(1, 4), 1.0), torch.zeros(1, 4))


def test_the_power_is_the_best_on_validation(sets: tuple[ImageSet, ImageSet]) -> None:
    """By hand: every power of the grid, judged on the validation images by recall averaged over classes."""
    stage, network = second_stage(sets, "tau_norm")
    features = encode(network, sets[1], Runtime()).features.clone()
    weight, labels = head_of(network).weight.detach().clone(), sets[1].labels.numpy()
    scores = []
    for step in range(21):
        scaled = weight / torch.linalg.vector_norm(weight, dim=1)[:, None] ** (step / 10)
        predicted = (features @ scaled.T).argmax(1).numpy()
        scores.append(np.mean([(predicted[labels == k] == k).mean() for k in range(3)]))
    assert len(set(scores)) > 1
    assert stage.run_epoch(0)["norm_power"] == pytest.approx(int(np.argmax(scores)) / 10)


def test_without_validation_the_power_has_to_be_given(sets: tuple[ImageSet, ImageSet]) -> None:
    for power in (None, 0.5):
        stage, network = second_stage(sets, "tau_norm", norm_power=power)
        stage.prepare(StageContext(network, sets[0], Runtime(), lambda done, total: None, None))
        if power is None:
            with pytest.raises(SettingsError, match="validation, which has no images"):
                stage.run_epoch(0)
        else:
            assert stage.run_epoch(0) == {"norm_power": 0.5}


def test_scales_of_one_are_the_old_classifier(sets: tuple[ImageSet, ImageSet]) -> None:
    stage, network = second_stage(sets, "lws")
    before = logits_of(network, sets[1])
    cast("ScaleLearning", stage).after_step()
    torch.testing.assert_close(logits_of(network, sets[1]), before)


def test_lws_learns_one_scale_for_each_class_and_nothing_else(sets: tuple[ImageSet, ImageSet]) -> None:
    stage, network = second_stage(sets, "lws")
    encoder = {name: value.clone() for name, value in network.encoder.state_dict().items()}
    weight, bias = head_of(network).weight.detach().clone(), head_of(network).bias.detach().clone()
    stage.run_epoch(0)
    ratio = head_of(network).weight.detach() / weight
    assert not torch.allclose(ratio, torch.ones_like(ratio), atol=1e-3)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    torch.testing.assert_close(head_of(network).bias.detach(), bias * ratio[:, 0])
    assert all(torch.equal(encoder[name], value) for name, value in network.encoder.state_dict().items())


def test_lws_wants_the_linear_classifier_of_stage_1(sets: tuple[ImageSet, ImageSet]) -> None:
    for variant in ("lws", "tau_norm"):
        stage, network = second_stage(sets, variant)
        network.classifier = CosineClassifier(num_features(network.encoder), 3, 0)
        with pytest.raises(SettingsError, match="linear classifier in stage 1, found CosineClassifier"):
            stage.prepare(StageContext(network, sets[0], Runtime(), lambda done, total: None, sets[1]))


def treated(features: Tensor, centre: Tensor, how: str) -> np.ndarray:
    centred = features - centre if how == "cl2n" else features
    return (centred if how == "un" else centred / centred.norm(dim=1, keepdim=True)).numpy()


@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_ has at least 1 zero")  # Features may be all 0.
@pytest.mark.parametrize("how", ["un", "l2n", "cl2n"])
def test_the_nearest_mean_is_scikit_learn_s(sets: tuple[ImageSet, ImageSet], how: str) -> None:
    stage, network = second_stage(sets, "ncm", ncm_features=how)
    stage.run_epoch(0)
    train, val = (encode(network, images, Runtime()) for images in sets)
    centre = train.features.mean(0)
    reference = NearestCentroid().fit(treated(train.features, centre, how), sets[0].labels.numpy())
    head = cast("PrototypeClassifier", network.classifier)
    np.testing.assert_allclose(head.prototypes.numpy(), reference.centroids_, atol=1e-5)
    predicted = reference.predict(treated(val.features, centre, how))
    assert len(set(predicted)) > 1
    assert val.logits.argmax(1).tolist() == predicted.tolist()


def test_crt_is_class_balanced_and_starts_anew(sets: tuple[ImageSet, ImageSet]) -> None:
    stage, network = second_stage(sets, "crt")
    assert not torch.allclose(head_of(network).bias.detach(), torch.tensor([2.0, -1.0, 0.0]))
    order = cast("decoupling.ClassifierTraining", stage).order(0)
    drawn = np.concatenate([cast("decoupling.ClassifierTraining", stage).order(epoch) for epoch in range(50)])
    shares = np.bincount(sets[0].labels[torch.from_numpy(drawn)].numpy()) / len(drawn)
    assert len(order) == len(sets[0].labels)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.05)


def test_an_unknown_variant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"stage2\.variant = 'ctr'.*'crt', 'lws', 'tau_norm' or 'ncm'"):
        resolve(decoupling.Settings, {"stage2": {"variant": "ctr"}})
