"""ICC: the parts of Algorithm 1, and that the E-step's gradient reaches the encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmd.data.images import open_cache
from lmd.data.loader import ImageSet, image_set
from lmd.losses.gaussian import ClassGaussians, class_statistics
from lmd.methods import lmd
from lmd.methods._icc import Calibration, unbias
from lmd.methods.base import StageContext
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.network import Network, batch_norms
from lmd.runtime import Runtime
from lmd.settings import merge, resolve
from tests import toy


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    dataset = toy.make_dataset(tmp_path_factory.mktemp("toy"))
    return image_set(dataset, "train", open_cache(dataset, 16, "none"))


def stage_of(images: ImageSet, **changes: Any) -> Calibration:
    settings = resolve(lmd.Settings, merge(toy.LMD, {"stage2": changes}))
    torch.manual_seed(0)
    encoder = build_encoder("test_resnet")
    network = Network(encoder, build_classifier("linear", num_features(encoder), 3, 0))
    stage = Calibration(settings, settings.stage2, num_classes=3)
    stage.prepare(StageContext(network, images, Runtime(), lambda done, total: None))
    return stage


def encoder_weights(stage: Calibration) -> torch.Tensor:
    return torch.cat(
        [parameter.detach().flatten().clone() for parameter in stage.network.encoder.parameters()]
    )


def head_weights(stage: Calibration) -> torch.Tensor:
    return torch.cat(
        [parameter.detach().flatten().clone() for parameter in stage.network.classifier.parameters()]
    )


def test_the_m_step_moves_the_head_alone(images: ImageSet) -> None:
    stage = stage_of(images)
    stage.estimate(0)
    encoder, head = encoder_weights(stage), head_weights(stage)
    losses = stage.maximise(0)
    assert torch.equal(encoder, encoder_weights(stage))
    assert not torch.equal(head, head_weights(stage))
    assert stage.maximise(1)["maximise"] < losses["maximise"]


def test_the_e_step_moves_the_encoder_alone(images: ImageSet) -> None:
    stage = stage_of(images)
    stage.estimate(0)
    encoder, head = encoder_weights(stage), head_weights(stage)
    stage.expect(0)
    assert not torch.equal(encoder, encoder_weights(stage))
    assert torch.equal(head, head_weights(stage))
    assert all(parameter.requires_grad for parameter in stage.network.classifier.parameters())


@pytest.mark.parametrize(
    ("label", "weight", "moves"),
    [
        ("ce", 0.0, True),
        ("gce", 0.0, True),
        ("detached_legacy", 0.0, False),
        ("none", 0.0, False),
        ("none", 1e-4, True),
    ],
)
def test_which_terms_reach_the_encoder(images: ImageSet, label: str, weight: float, moves: bool) -> None:
    """The authors' label term has no gradient (table 1.3, row 14); ours has."""
    stage = stage_of(
        images,
        estep_label=label,
        distribution_weight=weight,
        encoder_optimisation={"lr": 1e-4, "weight_decay": 0.0},
    )
    stage.estimate(0)
    before = encoder_weights(stage)
    stage.expect(0)
    assert (not torch.equal(before, encoder_weights(stage))) == moves


def test_the_e_step_lowers_its_loss(images: ImageSet) -> None:
    stage = stage_of(images, encoder_optimisation={"lr": 1e-3})
    stage.estimate(0)
    stage.maximise(0)
    first = stage.expect(0)["expect"]
    for iteration in range(1, 6):
        last = stage.expect(iteration)["expect"]
    assert last < first


def test_fdc_alone_pulls_features_to_their_own_class(images: ImageSet) -> None:
    stage = stage_of(images, estep_label="none", distribution_weight=1e-2, encoder_optimisation={"lr": 1e-3})
    stage.estimate(0)
    first = stage.expect(0)["distribution_consistency"]
    for iteration in range(1, 4):
        last = stage.expect(iteration)["distribution_consistency"]
    assert last < first


@pytest.mark.parametrize(("rule", "changes"), [("frozen", False), ("train", True)])
def test_batch_norm_in_the_e_step(images: ImageSet, rule: str, changes: bool) -> None:
    stage = stage_of(images, estep_bn=rule)
    stage.estimate(0)
    before = [layer.running_mean.clone() for layer in batch_norms(stage.network)]  # type: ignore[union-attr]
    stage.expect(0)
    after = [layer.running_mean for layer in batch_norms(stage.network)]
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)) == changes  # type: ignore[arg-type]


def test_each_class_is_drawn_r_times(images: ImageSet) -> None:
    stage = stage_of(images, virtual_per_class=33, head_batch=20)
    stage.estimate(0)
    labels = torch.cat([stage._cyclic_labels(step, 99) for step in range(5)])
    assert torch.bincount(labels).tolist() == [33, 33, 33]


def test_balanced_draws_weigh_each_image_as_often_as_it_was_drawn(images: ImageSet) -> None:
    stage = stage_of(images)
    rows, weights = stage._statistics_sample(0)
    assert weights is not None
    assert len(np.unique(rows)) == len(rows)
    assert int(weights.sum()) == len(images.labels)
    stage.estimate(0)
    repeated = stage.features.repeat_interleave(weights, 0)
    expected = class_statistics(repeated, stage.feature_labels.repeat_interleave(weights), 3)
    torch.testing.assert_close(stage.current.mean, expected.mean)
    torch.testing.assert_close(stage.current.covariance, expected.covariance)


def test_unbiased_weights_undo_the_shrinkage_of_repeats() -> None:
    """Over many draws the corrected covariance averages to that of the images, n-1 in its divisor."""
    random = np.random.default_rng(0)
    features = torch.from_numpy(random.normal(size=(6, 2)))
    target = torch.from_numpy(np.cov(features.numpy().T))
    total = torch.zeros(2, 2, dtype=torch.float64)
    for _ in range(2000):
        rows, times = np.unique(random.integers(0, 6, 40), return_counts=True)
        weights, labels = torch.from_numpy(times), torch.zeros(len(rows), dtype=torch.int64)
        drawn = class_statistics(features[torch.from_numpy(rows)], labels, 1, weights)
        total += unbias(drawn, labels, weights).covariance[0]
    torch.testing.assert_close(total / 2000, target, rtol=0.06, atol=0.02)


def test_a_class_of_one_image_and_unbiased_weights_stay_finite() -> None:
    gaussians = ClassGaussians(torch.zeros(1, 2), torch.zeros(1, 2, 2), torch.tensor([7]))
    fixed = unbias(gaussians, torch.zeros(1, dtype=torch.int64), torch.tensor([7]))
    assert torch.equal(fixed.covariance, torch.zeros(1, 2, 2))


@pytest.mark.parametrize("name", ["ridge", "oas", "ledoit_wolf", "pooled", "diagonal"])
@pytest.mark.parametrize(
    "metric", ["precision", "covariance_literal", "pooled_precision", "diagonal", "euclidean"]
)
def test_every_covariance_and_metric_runs_an_iteration(images: ImageSet, name: str, metric: str) -> None:
    stage = stage_of(images, cov=name, fdc_metric=metric)
    losses = stage.run_epoch(0) | stage.run_epoch(1)
    assert all(np.isfinite(value) for value in losses.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"head": "cosine"},
        {"reinit": "each_iter"},
        {"stats_data": "all_images"},
        {"unbiased_weights": True},
        {"sample_from": "current"},
        {"fdc_sign": "code"},
        {"phi_cap": 5.0},
        {"normalise_by_dim": True},
        {"gradient_clip": 1e-3},
        {"estep_view": "strong"},
        {"estep_sampling": "balanced"},
        {"virtual": False},
        {"estep_fraction": 0.5},
    ],
)
def test_every_option_runs_and_changes_the_result(images: ImageSet, changes: dict[str, Any]) -> None:
    plain, changed = stage_of(images), stage_of(images, **changes)
    for epoch in range(2):
        plain.run_epoch(epoch)
        changed.run_epoch(epoch)
    before = torch.cat([encoder_weights(plain), head_weights(plain)])
    after = torch.cat([encoder_weights(changed), head_weights(changed)])
    assert bool(torch.isfinite(after).all())
    assert before.shape != after.shape or not torch.equal(before, after)


def test_ablations_switch_their_part_off() -> None:
    counts = np.array([10, 5])

    def stages(**switch: bool) -> list[Any]:
        return lmd.stages(resolve(lmd.Settings, switch), counts)

    assert stages(rrl=False)[0].stage.consistency_weight == 0
    without_icc = stages(icc=False)[1]
    assert (without_icc.epochs, without_icc.stage.virtual) == (1, False)
    assert stages(vfc=False)[1].stage.virtual is False
    assert stages(vfc=False)[1].stage.iterations == 200
    assert stages(fdc=False)[1].stage.distribution_weight == 0
    everything = stages()
    assert everything[0].stage.consistency_weight == 10
    assert everything[1].stage.virtual


def test_the_gaussians_are_kept_with_the_model(images: ImageSet, tmp_path: Path) -> None:
    stage = stage_of(images)
    assert stage.artefacts() == {}
    stage.run_epoch(0)
    assert stage.artefacts()["mean"].shape == (3, 96)
    assert stage.artefacts()["covariance"].shape == (3, 96, 96)
