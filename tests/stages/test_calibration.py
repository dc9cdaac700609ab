"""ICC: the parts of Algorithm 1, and that the E-step's gradient reaches the encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmd import parallel
from lmd.data.decode.cache import open_cache
from lmd.data.feed.loader import ImageSet, image_set
from lmd.errors import SettingsError
from lmd.files import load_tree, save_tree
from lmd.losses import virtual
from lmd.losses.covariance import shrink
from lmd.losses.exact import ExpectedCrossEntropy, quasi_normal
from lmd.losses.gaussian import ClassGaussians, class_statistics
from lmd.losses.virtual import VirtualFeatures
from lmd.methods import lmd
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.inference import encode
from lmd.models.network import Network, batch_norms
from lmd.runtime import Runtime
from lmd.settings import merge, resolve
from lmd.stages.base import StageContext
from lmd.stages.calibration import statistics as _estimate
from lmd.stages.calibration.algorithm import Calibration
from lmd.stages.cross_entropy import CrossEntropy
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
    features = encode(stage.network, images, stage.context.runtime, rows).features
    stage.estimate(0)
    labels = images.labels[torch.from_numpy(rows)].repeat_interleave(weights)
    expected = class_statistics(features.repeat_interleave(weights, 0), labels, 3)
    torch.testing.assert_close(stage.current.mean, expected.mean)
    torch.testing.assert_close(stage.current.covariance, expected.covariance)


def test_the_features_are_not_kept(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statistics are streamed: a chunk of images at a time, and the same however it is cut."""
    whole, cut = stage_of(images), stage_of(images)
    whole.estimate(0)
    monkeypatch.setattr(_estimate, "CHUNK", 5)
    cut.estimate(0)
    kept = {name: value for name, value in vars(cut).items() if isinstance(value, torch.Tensor)}
    assert not [name for name, value in kept.items() if value.shape[-1] == cut.channels]
    torch.testing.assert_close(cut.current.mean, whole.current.mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(cut.current.covariance, whole.current.covariance, rtol=1e-4, atol=1e-6)


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
        {"m_step": "exact"},
        {"m_step": "exact_sgd"},
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

    def stages(**switch: Any) -> list[Any]:
        return lmd.stages(resolve(lmd.Settings, switch), counts)

    plain = stages(rrl=False)[0]
    assert isinstance(plain, CrossEntropy)
    assert plain.view_names == ("weak",)
    assert stages(rrl=False, stage1={"ce_view": "strong"})[0].view_names == ("strong",)
    without_icc = stages(icc=False)[1]
    assert (without_icc.epochs, without_icc.stage.virtual) == (1, False)
    assert stages(vfc=False)[1].stage.virtual is False
    assert stages(vfc=False)[1].stage.iterations == 200
    assert stages(fdc=False)[1].stage.distribution_weight == 0
    everything = stages()
    assert everything[0].stage.consistency_weight == 10
    assert everything[1].stage.virtual


def exact_loss(stage: Calibration, l2: float) -> tuple[float, float]:
    """The expected cross entropy of the stage's classifier, and its largest gradient, with other draws."""
    assert stage.smoothed is not None
    gaussians = shrink(stage.smoothed, "ridge", 0.01)
    objective = ExpectedCrossEntropy(gaussians, quasi_normal(2, 4096, seed=77), l2)
    classifier = stage.network.classifier
    value, *gradients = objective(classifier.weight.detach(), classifier.bias.detach())  # type: ignore[arg-type]
    return value, max(float(gradient.abs().max()) for gradient in gradients)


def test_the_exact_m_step_ends_at_the_minimum(images: ImageSet) -> None:
    stage = stage_of(images, m_step="exact", m_step_tolerance=1e-5)
    stage.estimate(0)
    encoder, start = encoder_weights(stage), exact_loss(stage, 0.01)
    losses = stage.maximise(0)
    value, gradient = exact_loss(stage, 0.01)
    assert torch.equal(encoder, encoder_weights(stage))
    assert value < start[0]
    assert gradient < 0.02 * start[1]
    assert losses["maximise"] == pytest.approx(value, abs=2e-3)
    assert losses["maximise_gradient"] <= 1e-5


def test_the_exact_m_step_starts_from_the_iteration_before(images: ImageSet) -> None:
    stage = stage_of(images, m_step="exact")
    stage.estimate(0)
    first, second = stage.maximise(0), stage.maximise(1)
    assert second["maximise_evaluations"] == 1
    assert first["maximise_evaluations"] > 5


def test_steps_with_the_exact_gradient_are_the_mean_of_many_sampled_ones(images: ImageSet) -> None:
    """Twelve steps on 4,000 virtual features each, and twelve on their expectation, end close together.

    Over twelve seeds they ended .046 to .052 of the way apart: what 4,000 draws leave open.
    """
    optimisation = {"lr": 0.1, "weight_decay": 0.0}
    many = {"virtual_per_class": 16_000, "head_batch": 4000, "head_optimisation": optimisation}
    sampled, exact = stage_of(images, **many), stage_of(images, **many, m_step="exact_sgd")
    start = head_weights(exact)
    for stage in (sampled, exact):
        stage.estimate(0)
        stage.maximise(0)
    moved = float((head_weights(exact) - start).norm())
    assert float((head_weights(exact) - head_weights(sampled)).norm()) < 0.07 * moved


@pytest.mark.parametrize("m_step", ["sampled", "exact", "exact_sgd"])
@pytest.mark.parametrize("cov", ["ridge", "ledoit_wolf"])
def test_resumed_equals_uninterrupted(images: ImageSet, tmp_path: Path, m_step: str, cov: str) -> None:
    whole = stage_of(images, m_step=m_step, cov=cov)
    for epoch in range(3):
        whole.run_epoch(epoch)
        if epoch == 1:
            state = {"stage": whole.state_dict(), "network": dict(whole.network.state_dict())}
            save_tree(tmp_path / "state", state)
    saved = load_tree(tmp_path / "state")
    half = stage_of(images, m_step=m_step, cov=cov)
    half.network.load_state_dict(saved["network"])
    half.load_state_dict(saved["stage"])
    half.run_epoch(2)
    assert torch.equal(head_weights(half), head_weights(whole))
    assert torch.equal(encoder_weights(half), encoder_weights(whole))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"virtual_per_class": 0}, r"stage2\.virtual_per_class = 0.*greater than or equal to 1"),
        ({"virtual_per_class": -5}, r"stage2\.virtual_per_class = -5.*greater than or equal to 1"),
        ({"m_step": "exact", "head": "cosine"}, r"m_step 'exact' needs head 'linear'"),
        ({"m_step_draws": 1}, r"stage2\.m_step_draws = 1"),
        ({"m_step": "newton"}, r"stage2\.m_step = 'newton'"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        resolve(lmd.Settings, {"stage2": changes})


def test_an_encoder_that_has_diverged_is_named(images: ImageSet) -> None:
    stage = stage_of(images)
    next(stage.network.encoder.parameters()).data.fill_(float("nan"))
    with pytest.raises(SettingsError, match=r"features of \d+ of \d+ images are not finite"):
        stage.estimate(0)


def test_a_covariance_that_is_not_positive_definite_is_named(images: ImageSet) -> None:
    stage = stage_of(images, ridge=0.0)
    stage.estimate(0)
    with pytest.raises(SettingsError, match=r"class \d \(\d+ draws, 96 channels\).*raise 'stage2\.ridge'"):
        stage.expect(0)


@pytest.mark.parametrize("m_step", ["sampled", "exact", "exact_sgd"])
def test_a_class_of_one_image_trains(images: ImageSet, m_step: str) -> None:
    keep = [*np.flatnonzero(images.labels.numpy() < 2), int(np.flatnonzero(images.labels.numpy() == 2)[0])]
    few = ImageSet(images.pixels[keep], images.labels[keep], 3)
    stage = stage_of(few, m_step=m_step, stats_data="all_images")
    losses = stage.run_epoch(0) | stage.run_epoch(1)
    assert stage.current.counts.tolist() == [40, 12, 1]
    assert all(np.isfinite(value) for value in losses.values())


def test_a_cosine_classifier_learns_through_autograd(images: ImageSet) -> None:
    """The gradient of a linear one is written out; this one's is not."""
    stage = stage_of(images, head="cosine", virtual_per_class=500)
    stage.estimate(0)
    first = stage.maximise(0)["maximise"]
    # On the same draws; weight decay alone would leave the loss where it is.
    assert stage.maximise(0)["maximise"] < 0.95 * first


def test_more_classes_than_memory_holds_are_refused(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_estimate, "free_memory", lambda device: 100_000)
    message = r"stage 2 needs about .* GB for the covariances of 3 classes with 96 channels.*stats_decay"
    with pytest.raises(SettingsError, match=message):
        stage_of(images)


def test_the_way_out_of_too_little_memory_leads_out(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 + 12 + 5 rows of 96 channels at 24 bytes; averaged over three iterations, 96 + 36 + 15."""
    monkeypatch.setattr(_estimate, "free_memory", lambda device: 150_000)
    with pytest.raises(SettingsError, match="stats_decay"):
        stage_of(images)
    stage_of(images, stats_decay=0.0)


@pytest.mark.parametrize(("name", "value"), [("cov", "pooled"), ("fdc_metric", "covariance_literal")])
def test_what_makes_a_matrix_of_every_class_needs_its_memory(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """3 x 96 rows at 8 bytes and 57 at 16, of 96 channels: 309 kB; 57 rows at 24 bytes are 131 kB."""
    monkeypatch.setattr(_estimate, "free_memory", lambda device: 200_000)
    stage_of(images, stats_decay=0.0)
    with pytest.raises(SettingsError, match=f"choose another 'stage2.{name}'"):
        stage_of(images, stats_decay=0.0, **{name: value})


def test_drawing_ahead_changes_nothing(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads draw: the classifier learns from the features of the plain stream, bit for bit."""
    monkeypatch.setattr(virtual, "CHUNK", 2000)  # Many chunks.
    found: list[torch.Tensor] = []
    for cores in (1, 3):
        monkeypatch.setattr(parallel, "num_cores", lambda cores=cores: cores)
        stage = stage_of(images, virtual_per_class=500)
        stage.estimate(0)
        found.append(torch.cat(list(stage._virtual_features(1500, torch.Generator().manual_seed(5)))))
    plain = VirtualFeatures(stage._sampled()).stream(
        1500, stage.stage.head_batch, torch.Generator().manual_seed(5)
    )
    assert torch.equal(*found)
    assert torch.equal(found[0], torch.cat(list(plain)))


def test_the_gaussians_are_kept_with_the_model(images: ImageSet, tmp_path: Path) -> None:
    stage = stage_of(images)
    assert stage.artefacts() == {}
    stage.run_epoch(0)
    assert stage.artefacts()["mean"].shape == (3, 96)
    kept = ClassGaussians.from_dict(stage.artefacts())
    assert stage.smoothed is not None
    torch.testing.assert_close(kept.covariance, stage.smoothed.covariance.float())
