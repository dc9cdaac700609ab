"""ICC: the parts of Algorithm 1, and that the E-step's gradient reaches the encoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
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
from lmd.losses.exact import ExpectedCrossEntropy, quasi_normal
from lmd.losses.gaussian import ClassGaussians, class_statistics
from lmd.losses.virtual import VirtualFeatures
from lmd.methods import lmd, lmd_code, lmd_literal
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.inference import encode
from lmd.models.network import Network, batch_norms
from lmd.runtime import Runtime
from lmd.settings import merge, resolve
from lmd.stages.base import StageContext
from lmd.stages.calibration import m_step as m_step_module
from lmd.stages.calibration import memory, statistics
from lmd.stages.calibration.algorithm import Calibration
from lmd.stages.calibration.m_step import ExactMStep, RealFeatureMStep, SampledMStep
from lmd.stages.classifier_training import ClassifierTraining
from lmd.stages.cross_entropy import CrossEntropy
from tests import toy


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    dataset = toy.make_dataset(tmp_path_factory.mktemp("toy"))
    return image_set(dataset, "train", open_cache(dataset, 16, "none"))


def stage_of(images: ImageSet, method: Any = lmd, **changes: Any) -> Calibration:
    """The prepared second stage of LMD, or of one of its presets, on a network that is always the same."""
    settings = resolve(method.Settings, merge(getattr(method, "PRESET", {}), merge(toy.LMD, changes)))
    torch.manual_seed(0)
    encoder = build_encoder("test_resnet")
    network = Network(encoder, build_classifier("linear", num_features(encoder), 3, 0))
    stage = method.stages(settings, images.counts)[1]
    stage.prepare(StageContext(network, images, Runtime(), lambda done, total: None))
    return stage


def encoder_weights(stage: Calibration) -> torch.Tensor:
    return torch.cat([part.detach().flatten().clone() for part in stage.network.encoder.parameters()])


def classifier_weights(stage: Calibration) -> torch.Tensor:
    return torch.cat([part.detach().flatten().clone() for part in stage.network.classifier.parameters()])


def test_the_m_step_moves_the_classifier_alone(images: ImageSet) -> None:
    stage = stage_of(images)
    gaussians = stage.statistics.update(0)
    encoder, classifier = encoder_weights(stage), classifier_weights(stage)
    losses = stage.m_step.fit(gaussians, 0)
    assert torch.equal(encoder, encoder_weights(stage))
    assert not torch.equal(classifier, classifier_weights(stage))
    assert stage.m_step.fit(gaussians, 1)["maximise"] < losses["maximise"]


def test_the_e_step_moves_the_encoder_alone(images: ImageSet) -> None:
    stage = stage_of(images)
    gaussians = stage.statistics.update(0)
    encoder, classifier = encoder_weights(stage), classifier_weights(stage)
    stage.e_step.fit(gaussians, 0)
    assert not torch.equal(encoder, encoder_weights(stage))
    assert torch.equal(classifier, classifier_weights(stage))
    assert all(parameter.requires_grad for parameter in stage.network.classifier.parameters())


def test_an_iteration_is_statistics_m_step_offer_e_step(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Algorithm 1, lines 10 to 18, and the closing M-step without an E-step."""
    stage, calls = stage_of(images), []
    for part, verb in ((stage.statistics, "update"), (stage.m_step, "fit"), (stage.e_step, "fit")):
        name = f"{type(part).__name__}.{verb}"
        monkeypatch.setattr(part, verb, lambda *_, name=name: calls.append(name) or {})
    stage.context = replace(stage.context, offer=lambda: calls.append("offer"))
    assert stage.epochs == 3
    for epoch in range(stage.epochs):
        stage.run_epoch(epoch)
    once = ["Statistics.update", "SampledMStep.fit", "offer"]
    assert calls == [*once, "EStep.fit", *once, "EStep.fit", *once]


@pytest.mark.parametrize(
    ("method", "weight", "moves"),
    [(lmd, 0.0, True), (lmd, 1e-4, True), (lmd_code, 0.0, False), (lmd_code, 1e-4, True)],
)
def test_which_terms_reach_the_encoder(images: ImageSet, method: Any, weight: float, moves: bool) -> None:
    """The authors' label term has no gradient (docs/paper.md, row 14); ours has."""
    optimisation = {"lr": 1e-4, "weight_decay": 0.0}
    stage = stage_of(images, method, e_step={"distribution_weight": weight, "optimisation": optimisation})
    gaussians = stage.statistics.update(0)
    before = encoder_weights(stage)
    stage.e_step.fit(gaussians, 0)
    assert (not torch.equal(before, encoder_weights(stage))) == moves


def test_the_authors_code_turns_the_sign_of_fdc(images: ImageSet) -> None:
    """Phi - Psi in place of Psi - Phi (docs/paper.md, row 15)."""
    found = []
    for method in (lmd, lmd_code):
        stage = stage_of(images, method, e_step={"batch_norm": "frozen"})
        found.append(stage.e_step.fit(stage.statistics.update(0), 0)["distribution_consistency"])
    assert found[0] != 0
    assert found[1] == pytest.approx(-found[0], rel=0.05)  # Both move the encoder a little on the way.


def test_the_e_step_lowers_its_loss(images: ImageSet) -> None:
    stage = stage_of(images)
    gaussians = stage.statistics.update(0)
    stage.m_step.fit(gaussians, 0)
    losses = [stage.e_step.fit(gaussians, iteration)["expect"] for iteration in range(6)]
    assert losses[-1] < losses[0]


def test_fdc_pulls_features_to_their_own_class(images: ImageSet) -> None:
    """With a weight that drowns the cross entropy."""
    stage = stage_of(images, e_step={"distribution_weight": 10.0, "optimisation": {"lr": 1e-6}})
    gaussians = stage.statistics.update(0)
    found = [stage.e_step.fit(gaussians, i)["distribution_consistency"] for i in range(4)]
    assert found[-1] < found[0]


@pytest.mark.parametrize(("rule", "changes"), [("frozen", False), ("train", True)])
def test_batch_norm_in_the_e_step(images: ImageSet, rule: str, changes: bool) -> None:
    stage = stage_of(images, e_step={"batch_norm": rule})
    gaussians = stage.statistics.update(0)
    before = [layer.running_mean.clone() for layer in batch_norms(stage.network)]  # type: ignore[union-attr]
    stage.e_step.fit(gaussians, 0)
    after = [layer.running_mean for layer in batch_norms(stage.network)]
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)) == changes  # type: ignore[arg-type]


def test_each_class_is_drawn_r_times(images: ImageSet) -> None:
    m_step = stage_of(images, m_step={"virtual_per_class": 33, "batch": 20}).m_step
    assert isinstance(m_step, SampledMStep)
    labels = torch.cat([m_step.labels(20 * step, min(20, 99 - 20 * step)) for step in range(5)])
    assert torch.bincount(labels).tolist() == [33, 33, 33]


def test_equation_7_class_balanced_draws_weigh_each_image_as_often_as_it_was_drawn(images: ImageSet) -> None:
    stage = stage_of(images)
    part = stage.statistics
    rows, weights = part._drawn(0)
    assert weights is not None
    assert len(np.unique(rows)) == len(rows)
    assert int(weights.sum()) == len(images.labels)
    features = encode(stage.network, images, stage.context.runtime, rows).features
    part.update(0)
    labels = images.labels[torch.from_numpy(rows)].repeat_interleave(weights)
    expected = class_statistics(features.repeat_interleave(weights, 0), labels, 3)
    torch.testing.assert_close(part.current.mean, expected.mean)
    torch.testing.assert_close(part.current.covariance, expected.covariance)


def test_equation_7_each_class_has_n_over_k_draws_in_the_mean(images: ImageSet) -> None:
    """E[N_k] = N / K however many images a class has (section 3.4.2)."""
    part = stage_of(images).statistics
    drawn = np.zeros(3)
    for iteration in range(200):
        rows, weights = part._drawn(iteration)
        assert weights is not None
        np.add.at(drawn, images.labels.numpy()[rows], weights.numpy())
    assert drawn / 200 == pytest.approx(len(images.labels) / 3, rel=0.05)


def test_the_features_are_not_kept(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statistics are streamed: a chunk of images at a time, and the same however it is cut."""
    whole, cut = stage_of(images).statistics, stage_of(images).statistics
    whole.update(0)
    monkeypatch.setattr(statistics, "CHUNK", 5)
    cut.update(0)
    kept = {name: value for name, value in vars(cut).items() if isinstance(value, torch.Tensor)}
    assert not [name for name, value in kept.items() if value.shape[-1] == cut.channels]
    torch.testing.assert_close(cut.current.mean, whole.current.mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(cut.current.covariance, whole.current.covariance, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("covariance", ["ridge", "oas", "ledoit_wolf", "pooled", "diagonal"])
@pytest.mark.parametrize(
    "distance", ["precision", "covariance_literal", "pooled_precision", "diagonal", "euclidean"]
)
def test_every_covariance_and_distance_runs_an_iteration(
    images: ImageSet, covariance: str, distance: str
) -> None:
    stage = stage_of(images, statistics={"covariance": covariance}, e_step={"distance": distance})
    losses = stage.run_epoch(0) | stage.run_epoch(1)
    assert all(np.isfinite(value) for value in losses.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"statistics": {"sampling": "uniform"}},
        {"e_step": {"view": "strong"}},
        {"e_step": {"sampling": "balanced"}},
        {"without": "vfc"},
        {"without": "fdc"},
        {"m_step": {"solver": "exact"}},
        {"method": lmd_code},
        {"method": lmd_literal},
    ],
)
def test_every_option_runs_and_changes_the_result(images: ImageSet, changes: dict[str, Any]) -> None:
    plain, changed = stage_of(images), stage_of(images, **changes)
    for epoch in range(2):
        plain.run_epoch(epoch)
        changed.run_epoch(epoch)
    before = torch.cat([encoder_weights(plain), classifier_weights(plain)])
    after = torch.cat([encoder_weights(changed), classifier_weights(changed)])
    assert bool(torch.isfinite(after).all())
    assert not torch.equal(before, after)


def test_the_authors_code_draws_from_statistics_that_are_not_smoothed(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows 18 and 19 of docs/paper.md; the E-step's distances are to the smoothed ones."""
    stage = stage_of(images, lmd_code)
    seen: dict[str, ClassGaussians] = {}
    monkeypatch.setattr(stage.m_step, "fit", lambda gaussians, j: seen.update(m_step=gaussians) or {})
    monkeypatch.setattr(stage.e_step, "fit", lambda gaussians, j: seen.update(e_step=gaussians) or {})
    assert stage.epochs == 2
    for epoch in range(2):
        stage.run_epoch(epoch)
    assert torch.equal(seen["m_step"].mean, stage.statistics.current.mean)
    assert stage.statistics.smoothed is not None
    assert torch.equal(seen["e_step"].mean, stage.statistics.smoothed.mean)
    assert not torch.equal(seen["m_step"].mean, seen["e_step"].mean)


def test_ablations_leave_their_part_out() -> None:
    counts = np.array([10, 5])

    def stages(**changes: Any) -> list[Any]:
        return lmd.stages(resolve(lmd.Settings, changes), counts)

    plain = stages(without="rrl")[0]
    assert isinstance(plain, CrossEntropy)
    assert plain.view_names == ("weak",)
    assert stages(without="rrl", stage1={"ce_view": "strong"})[0].view_names == ("strong",)
    assert isinstance(stages(without="icc")[1], ClassifierTraining)
    assert isinstance(stages(without="vfc")[1].m_step, RealFeatureMStep)
    assert stages(without="vfc")[1].iterations == 200
    assert stages(without="fdc")[1].e_step.settings.distribution_weight == 0
    everything = stages()
    assert everything[0].stage.consistency_weight == 10
    assert type(everything[1].m_step) is SampledMStep
    assert everything[1].e_step.settings.distribution_weight == 1e-4


def exact_loss(stage: Calibration, gaussians: ClassGaussians, l2: float) -> tuple[float, float]:
    """The expected cross entropy of the stage's classifier, and its largest gradient, with other draws."""
    objective = ExpectedCrossEntropy(gaussians, quasi_normal(2, 4096, seed=77), l2)
    classifier = stage.network.classifier
    value, *gradients = objective(classifier.weight.detach(), classifier.bias.detach())  # type: ignore[arg-type]
    return value, max(float(gradient.abs().max()) for gradient in gradients)


def test_the_exact_m_step_ends_at_the_minimum(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(m_step_module, "TOLERANCE", 1e-5)
    stage = stage_of(images, m_step={"solver": "exact"})
    gaussians = stage.statistics.update(0)
    encoder, start = encoder_weights(stage), exact_loss(stage, gaussians, 0.01)
    losses = stage.m_step.fit(gaussians, 0)
    value, gradient = exact_loss(stage, gaussians, 0.01)
    assert torch.equal(encoder, encoder_weights(stage))
    assert value < start[0]
    assert gradient < 0.02 * start[1]
    assert losses["maximise"] == pytest.approx(value, abs=2e-3)
    assert losses["maximise_gradient"] <= 1e-5


def test_the_exact_m_step_starts_from_the_iteration_before(images: ImageSet) -> None:
    stage = stage_of(images, m_step={"solver": "exact"})
    assert isinstance(stage.m_step, ExactMStep)
    gaussians = stage.statistics.update(0)
    first, second = stage.m_step.fit(gaussians, 0), stage.m_step.fit(gaussians, 1)
    assert second["maximise_evaluations"] == 1
    assert first["maximise_evaluations"] > 5


@pytest.mark.parametrize("solver", ["sampled", "exact"])
@pytest.mark.parametrize("covariance", ["ridge", "ledoit_wolf"])
def test_resumed_equals_uninterrupted(images: ImageSet, tmp_path: Path, solver: str, covariance: str) -> None:
    changes: Any = {"m_step": {"solver": solver}, "statistics": {"covariance": covariance}}
    whole = stage_of(images, **changes)
    for epoch in range(3):
        whole.run_epoch(epoch)
        if epoch == 1:
            state = {"stage": whole.state_dict(), "network": dict(whole.network.state_dict())}
            save_tree(tmp_path / "state", state)
    saved = load_tree(tmp_path / "state")
    half = stage_of(images, **changes)
    half.network.load_state_dict(saved["network"])
    half.load_state_dict(saved["stage"])
    half.run_epoch(2)
    assert torch.equal(classifier_weights(half), classifier_weights(whole))
    assert torch.equal(encoder_weights(half), encoder_weights(whole))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"m_step": {"virtual_per_class": 0}}, r"m_step\.virtual_per_class = 0.*must be at least 1"),
        (
            {"m_step": {"virtual_per_class": -5}},
            r"m_step\.virtual_per_class = -5.*must be at least 1",
        ),
        ({"m_step": {"solver": "newton"}}, r"m_step\.solver = 'newton'"),
        ({"without": "both"}, r"setting without = 'both'.*'none', 'rrl', 'icc', 'vfc' or 'fdc'"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        resolve(lmd.Settings, changes)


def test_no_iteration_and_no_closing_m_step_is_refused() -> None:
    assert lmd.stages(resolve(lmd.Settings, {"iterations": 0}), np.array([5, 3]))[1].epochs == 1
    with pytest.raises(SettingsError, match="no classifier would be trained"):
        lmd_code.stages(resolve(lmd_code.Settings, {"iterations": 0}), np.array([5, 3]))


def test_an_encoder_that_has_diverged_is_named(images: ImageSet) -> None:
    stage = stage_of(images)
    next(stage.network.encoder.parameters()).data.fill_(float("nan"))
    message = r"features of \d+ of \d+ images are not finite: lower 'stage1\.optimisation\.lr'"
    with pytest.raises(SettingsError, match=message):
        stage.statistics.update(0)


@pytest.mark.parametrize("part", ["m_step", "e_step"])
def test_a_covariance_that_is_not_positive_definite_is_named(images: ImageSet, part: str) -> None:
    stage = stage_of(images, statistics={"ridge": 0.0, "sampling": "uniform"})
    gaussians = stage.statistics.update(0)
    if (
        part == "m_step"
    ):  # A class with more rows than C / 2 is factorised: one whose rows are alike cannot be.
        gaussians.spread[0].zero_()
        gaussians = ClassGaussians(
            gaussians.mean, (torch.zeros(96, 96, dtype=torch.float64), *gaussians.spread[1:]),
            gaussians.counts, gaussians.floor,
        )  # fmt: skip
    message = r"class \d \(\d+ draws, 96 channels\).*raise 'statistics\.ridge'"
    with pytest.raises(SettingsError, match=message):
        getattr(stage, part).fit(gaussians, 0)


@pytest.mark.parametrize("solver", ["sampled", "exact"])
def test_a_class_of_one_image_trains(images: ImageSet, solver: str) -> None:
    keep = [*np.flatnonzero(images.labels.numpy() < 2), int(np.flatnonzero(images.labels.numpy() == 2)[0])]
    few = ImageSet(images.pixels[keep], images.labels[keep], 3)
    stage = stage_of(few, m_step={"solver": solver}, statistics={"sampling": "uniform"})
    losses = stage.run_epoch(0) | stage.run_epoch(1)
    assert stage.statistics.current.counts.tolist() == [40, 12, 1]
    assert all(np.isfinite(value) for value in losses.values())


def test_more_classes_than_memory_holds_are_refused(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 100_000)
    message = (
        r"stage 2 needs about .* GB for the covariances of 3 classes with 96 channels.*statistics\.decay"
    )
    with pytest.raises(SettingsError, match=message):
        stage_of(images)


def test_the_way_out_of_too_little_memory_leads_out(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 + 12 + 5 rows of 96 channels at 24 bytes; averaged over three iterations, 96 + 36 + 15."""
    monkeypatch.setattr(memory, "free_memory", lambda device: 150_000)
    with pytest.raises(SettingsError, match=r"statistics\.decay"):
        stage_of(images)
    stage_of(images, statistics={"decay": 0.0})


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [("statistics", "covariance", "pooled"), ("e_step", "distance", "covariance_literal")],
)
def test_what_makes_a_matrix_of_every_class_needs_its_memory(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch, group: str, name: str, value: str
) -> None:
    """3 x 96 rows at 8 bytes and 57 at 16, of 96 channels: 309 kB; 57 rows at 24 bytes are 131 kB."""
    monkeypatch.setattr(memory, "free_memory", lambda device: 200_000)
    lean: Any = {"statistics": {"decay": 0.0}}
    stage_of(images, **lean)
    with pytest.raises(SettingsError, match=rf"choose another '{group}\.{name}'"):
        stage_of(images, **merge(lean, {group: {name: value}}))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread of torch, as each thread that draws has: with two a product may round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_drawing_ahead_changes_nothing(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many threads draw: the classifier learns from the features of the plain stream, bit for bit."""
    monkeypatch.setattr(virtual, "CHUNK", 2000)  # Many chunks.
    found: list[torch.Tensor] = []
    for cores in (1, 3):
        monkeypatch.setattr(parallel, "num_cores", lambda cores=cores: cores)
        stage = stage_of(images, m_step={"virtual_per_class": 500})
        gaussians, m_step = stage.statistics.update(0), stage.m_step
        assert isinstance(m_step, SampledMStep)
        found.append(torch.cat(list(m_step.blocks(gaussians, 0))))
    plain = VirtualFeatures(gaussians).stream(1500, m_step.settings.batch, m_step.generator(0))
    assert torch.equal(*found)
    assert torch.equal(found[0], torch.cat(list(plain)))


def test_the_gaussians_are_kept_with_the_model(images: ImageSet, tmp_path: Path) -> None:
    stage = stage_of(images)
    assert stage.artefacts() == {}
    stage.run_epoch(0)
    assert stage.artefacts()["mean"].shape == (3, 96)
    kept = ClassGaussians.from_dict(stage.artefacts())
    assert stage.statistics.smoothed is not None
    torch.testing.assert_close(kept.covariance, stage.statistics.smoothed.covariance.float())
