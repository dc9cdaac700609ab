"""GCL: reproducible noise and mixup, its two stages, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lmd.data.feed.sampling import class_shares
from lmd.errors import SettingsError
from lmd.losses.cloud import clipped_noise
from lmd.methods import ce, gcl
from lmd.models.classifier import CosineClassifier, build_classifier
from lmd.settings import resolve
from lmd.stages.optimisation import set_rate
from lmd.training.start import train
from tests import toy
from tests.methods.tiny import COUNTS, falls, resumed_equals_whole, stage_of, weights

FORMS = ["angular", "cosine"]


def second_stage(**changes: Any) -> Any:
    """Stage 2 with the classifier that stage 1 would have left."""
    settings = resolve(gcl.Settings, {"batch": 8, **changes})
    context = stage_of(gcl).context
    stage = gcl.stages(settings, np.array(COUNTS))[1]
    stage.prepare(context)
    return stage


@pytest.mark.parametrize("form", FORMS)
def test_both_stages_resume_to_the_bit(form: str, tmp_path: Path) -> None:
    resumed_equals_whole(lambda: stage_of(gcl, form=form), tmp_path / "1")
    resumed_equals_whole(lambda: second_stage(form=form), tmp_path / "2")


@pytest.mark.parametrize("form", FORMS)
def test_without_noise_mixup_and_margin_stage_1_is_cross_entropy(form: str) -> None:
    stage = stage_of(gcl, form=form, noise=0.0, stage1={"mixup_alpha": 0.0})
    stage.set_mode()
    batch = next(stage.batches(stage.order(0)))
    views = stage.views(batch, 0)
    loss = stage.loss(views, batch.labels, 0.0)["total"]
    logits = stage.network(views["weak"]).logits
    torch.testing.assert_close(loss, F.cross_entropy(logits, batch.labels))


def test_the_default_is_the_angular_form_of_the_paper_that_lmd_cites() -> None:
    """Stage 1 at S = 30, a = 0.5, m = 0, against a loop over images and classes."""
    stage = stage_of(gcl)
    generator = torch.Generator().manual_seed(5)
    cosines, labels = torch.rand(6, 3, generator=generator) * 2 - 1, torch.tensor([0, 1, 2, 0, 1, 2])
    torch.manual_seed(2)
    noise = (torch.randn(6, 3) / 3).clamp(-1, 1)
    found, noise = stage.cloud(30 * cosines, labels, noise), noise.abs()
    logs = np.log(COUNTS)
    for i in range(6):
        for k in range(3):
            delta = (logs.max() - logs[k]) / (logs.max() - logs.min())
            angle = math.acos(float(cosines[i, k]))
            angle += (angle < math.pi / 2) * math.pi / 2 * 0.5 * delta * float(noise[i, k])
            assert float(found[i, k]) == pytest.approx(30 * math.cos(angle), abs=1e-4)


@pytest.mark.parametrize(("form", "scale", "margin"), [("angular", 30, 0.0), ("cosine", 20, 0.1)])
def test_scale_and_margin_of_stage_2_go_with_the_form(form: str, scale: float, margin: float) -> None:
    stage = second_stage(form=form)
    assert (stage.cloud.scale, stage.cloud.margin) == (scale, margin)
    assert float(stage.network.classifier.scale) == scale
    other = second_stage(form=form, stage2={"scale": 7.0, "margin": 0.0})
    assert (other.cloud.scale, other.cloud.margin) == (7.0, 0.0)


def test_noise_lowers_the_logits_of_rare_classes_alone() -> None:
    stage = stage_of(gcl, form="cosine")
    torch.manual_seed(0)
    logits = torch.zeros(1000, 3)
    labels = torch.zeros(1000, dtype=torch.int64)
    clouded = stage.cloud(logits, labels, clipped_noise((1000, 3)))
    assert torch.equal(clouded[:, 0], torch.zeros(1000))  # The largest class: delta = 0.
    # E|e| of a Gaussian of width 1/3 is sqrt(2/pi)/3; the smallest class has delta = 1.
    expected = -30 * 0.5 * (2 / np.pi) ** 0.5 / 3
    assert float(clouded[:, 2].mean()) == pytest.approx(expected, rel=0.05)
    assert bool((clouded <= 0).all())


def test_mixup_weighs_both_labels_by_their_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stage_of(gcl, noise=0.0)
    partner = torch.tensor([7, 6, 5, 4, 3, 2, 1, 0])
    monkeypatch.setattr(gcl, "draw_mixture", lambda batch, alpha: (0.25, partner))
    stage.set_mode()
    batch = next(stage.batches(stage.order(0)))
    images = stage.views(batch, 0)["weak"]
    loss = stage.loss({"weak": images}, batch.labels, 0.0)["total"]
    logits = stage.network(0.25 * images + 0.75 * images[partner]).logits
    expected = 0.25 * F.cross_entropy(logits, batch.labels)
    expected = expected + 0.75 * F.cross_entropy(logits, batch.labels[partner])
    torch.testing.assert_close(loss, expected)


def test_mixtures_are_drawn_from_the_seeded_generator() -> None:
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(gcl.draw_mixture(8, 1.0))
    assert draws[0][0] == draws[1][0] != draws[2][0]
    assert torch.equal(draws[0][1], draws[1][1])
    assert sorted(draws[2][1].tolist()) == list(range(8))
    shares = [gcl.draw_mixture(2, 1.0)[0] for _ in range(500)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.05)  # Beta(1, 1) is uniform.
    assert np.var(shares) == pytest.approx(1 / 12, rel=0.2)


def test_stage_2_goes_on_with_the_classifier_alone() -> None:
    context = stage_of(gcl).context
    before = context.network.classifier.weight.detach().clone()
    stage = gcl.stages(resolve(gcl.Settings, {"batch": 8}), np.array(COUNTS))[1]
    stage.prepare(context)
    assert torch.equal(stage.network.classifier.weight, before)
    assert float(stage.network.classifier.scale) == 30
    encoder = weights(stage.network.encoder)
    stage.run_epoch(0)
    assert torch.equal(weights(stage.network.encoder), encoder)
    assert not torch.equal(stage.network.classifier.weight, before)


def test_stage_2_is_a_focal_loss_whose_factor_is_held_fixed() -> None:
    stage = second_stage(form="cosine", noise=0.0)
    labels = torch.tensor([0, 2, 1])
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = stage.criterion(logits, labels, 0.0)["clouded_focal"]
    shifted = logits - 20 * 0.1 * F.one_hot(labels, 3)
    entropy = F.cross_entropy(shifted, labels, reduction="none")
    expected = ((1 - (-entropy).exp()).detach() * entropy).mean()
    torch.testing.assert_close(loss, expected)
    first, second = (torch.autograd.grad(value, logits)[0] for value in (loss, expected))
    torch.testing.assert_close(first, second)


def test_the_rate_of_stage_2_is_the_authors() -> None:
    """Theirs, at --lr 0.1: a tenth of (a tenth of lr) (1 + cos(pi t / T)), set once before each epoch."""
    stage = gcl.stages(resolve(gcl.Settings), np.array(COUNTS))[1]
    stage.prepare(stage_of(gcl).context)
    found = []
    for step in range(60):  # Two steps an epoch: the rate does not move between them.
        set_rate(stage.optimiser, stage.optimisation, stage.common, step / 2, stage.epochs)
        found.append(stage.optimiser.param_groups[0]["lr"])
    expected = [0.1 * (0.1 * 0.1 * (1 + math.cos(epoch / 30 * math.pi))) for epoch in range(30)]
    assert found[::2] == found[1::2]
    assert found[::2] == pytest.approx(expected)
    assert [found[0], found[20], found[58]] == pytest.approx([2e-3, 1.5e-3, 5.48e-6], rel=1e-3)


@pytest.mark.parametrize("sampling", ["balanced", "cben"])
def test_stage_2_learns_under_either_sampling(sampling: str) -> None:
    stage = second_stage(stage2={"sampling": sampling})
    assert falls(stage)
    shown = stage.context.train.labels[torch.from_numpy(np.concatenate([stage.order(e) for e in range(20)]))]
    assert float((shown == 2).double().mean()) == pytest.approx(1 / 3, abs=0.07)


def test_equal_counts_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"GCL needs classes of different sizes, found \[5\] images"):
        gcl.stages(resolve(gcl.Settings), np.array([5, 5, 5]))


def test_a_linear_classifier_of_another_run_is_refused_unless_a_new_one_is_asked_for() -> None:
    context = stage_of(gcl).context
    channels = context.network.classifier.weight.shape[1]
    context.network.classifier = build_classifier("linear", channels, 3, 0)
    with pytest.raises(
        SettingsError, match="goes on with a cosine classifier, stage 1 left LinearClassifier"
    ):
        gcl.stages(resolve(gcl.Settings), np.array(COUNTS))[1].prepare(context)
    settings = resolve(gcl.Settings, {"stage2": {"classifier": "new"}})
    gcl.stages(settings, np.array(COUNTS))[1].prepare(context)
    assert isinstance(context.network.classifier, CosineClassifier)
    assert float(context.network.classifier.scale) == 30


def test_asking_the_network_adds_no_noise() -> None:
    stage = second_stage()
    stage.set_mode()
    pixels = torch.rand(4, 3, 16, 16)
    assert torch.equal(stage.network(pixels).logits, stage.network(pixels).logits)


def test_cben_draws_by_an_effective_number_of_each_class() -> None:
    counts = [5000, 300, 1]
    deltas = [(np.log(5000) - np.log(n)) / np.log(5000) for n in counts]
    betas = [0.9999 + 1e-5 * delta for delta in deltas]
    raw = [n * (1 - b) / (1 - b**n) for n, b in zip(counts, betas, strict=True)]
    shares = class_shares("cben", np.array(counts))
    assert shares.tolist() == pytest.approx([value / sum(raw) for value in raw])
    assert class_shares("cben", np.array([5, 5])).tolist() == pytest.approx([0.5, 0.5])


def test_from_a_run_of_cross_entropy_it_says_what_to_set_and_writes_nothing(tmp_path: Path) -> None:
    dataset = toy.make_dataset(tmp_path)
    first = train(dataset, "ce", resolve(ce.Settings, toy.recipe("ce")), tmp_path / "ce")
    with pytest.raises(SettingsError, match=r"set stage2\.classifier=new"):
        train(dataset, "gcl", resolve(gcl.Settings, toy.recipe("gcl")), tmp_path / "gcl", start=first)
    assert not (tmp_path / "gcl").exists()
    settings = resolve(gcl.Settings, toy.recipe("gcl"), overrides=["stage2.classifier=new"])
    assert train(dataset, "gcl", settings, tmp_path / "gcl", start=first).model.is_file()
