"""CC-SAM: cross entropy at radius 0, the perturbed term by autograd, noise and its ramp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from lmd.methods import cc_sam, ce
from lmd.methods.cc_sam import class_strengths
from tests.methods.tiny import COUNTS, falls, first_gradient, resumed_equals_whole, stage_of, weights


@pytest.mark.parametrize("changes", [{"radius": 0.0}, {"radius": 1.0, "flat_ratio": 0.0}])
def test_without_a_radius_it_is_cross_entropy(changes: dict[str, Any]) -> None:
    sharp = {"mixup": 0.0, **changes}
    found, expected = first_gradient(stage_of(cc_sam, stage1=sharp)), first_gradient(stage_of(ce))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    other = first_gradient(stage_of(cc_sam, stage1={"mixup": 0.0, "radius": 1.0}))
    assert not torch.allclose(other, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("target", ["mixed", "first"])
def test_the_loss_against_a_loop_over_the_classes(target: str) -> None:
    """As the authors write it: perturb the classifier, judge the class's images, restore."""
    stage = stage_of(cc_sam, stage1={"radius": 0.1, "flat_ratio": 0.4, "shifted_target": target})
    batch = next(stage.batches(stage.order(0)))
    views = stage.views(batch, 0)
    stage.network.eval()
    torch.manual_seed(1)
    found = stage.loss(views, batch.labels, 0.0)["total"]
    torch.manual_seed(1)
    images, targets = stage._mix(views["weak"], batch.labels)
    features, head = stage.network.encoder(images).detach(), stage.network.classifier
    losses = -(targets * head(features).log_softmax(1)).sum(1)
    shifted = []
    size = sum(parameter.numel() for parameter in head.parameters())
    joint = sum(float(value) ** 2 for part in head.parameters() for value in part.detach().flatten()) ** 0.5
    for label in batch.labels.unique():
        mine = batch.labels == label
        gradients = torch.autograd.grad(losses[mine].mean(), [head.weight, head.bias], retain_graph=True)
        rare = max(COUNTS[int(label)] - 1, 1)
        moved = [
            w + 0.1 * (joint / g.norm()) ** 0.5 * size**0.25 / (2**0.5 * rare**0.25) * g / g.norm()
            for w, g in zip([head.weight, head.bias], gradients, strict=True)
        ]
        logits = F.linear(features[mine], *moved)
        judged = targets[mine] if target == "mixed" else F.one_hot(batch.labels[mine], 3)
        shifted.append(-(judged * logits.log_softmax(1)).sum(1))
    expected = 0.6 * losses.mean() + 0.4 * torch.cat(shifted).mean()
    torch.testing.assert_close(found, expected)


def test_mixup_mixes_images_and_labels_alike() -> None:
    stage = stage_of(cc_sam)
    labels = torch.tensor([0, 1, 2, 0])
    pixels = labels.float().view(-1, 1, 1, 1)
    torch.manual_seed(3)
    mixed, targets = stage._mix(pixels, labels)
    torch.testing.assert_close(mixed.flatten(), targets @ torch.arange(3.0))
    assert not torch.equal(mixed, pixels)


def test_strengths_against_the_formula() -> None:
    assert class_strengths(COUNTS_ARRAY, 2.0).tolist() == pytest.approx(
        [0.5 * torch.log(torch.tensor(20 / n + 0.01)).item() for n in COUNTS]
    )


COUNTS_ARRAY = torch.tensor(COUNTS).numpy()


def test_the_noisy_term_against_autograd_and_the_ramp() -> None:
    stage = stage_of(cc_sam, 1, stage2={"epochs": 4, "noise_limit": 0.6})
    labels = torch.tensor([0, 0, 1, 2, 0])
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(5, stage.network.classifier.in_features, generator=generator)
    head = stage.network.classifier
    moved = features.clone()
    for label in range(3):
        mine = labels == label
        leaf = features.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(head(leaf)[mine], labels[mine]), leaf)
        moved[mine] += (stage.strengths[label] * gradient / gradient.norm())[mine]
    noisy = (stage.strengths[labels] * F.cross_entropy(head(moved), labels, reduction="none")).mean()
    plain = F.cross_entropy(head(features), labels)
    for moment, share in [(0.0, 0.25), (0.9, 0.25), (1.0, 0.5), (2.5, 0.6), (3.0, 0.6)]:
        total = stage.loss({"features": features}, labels, moment)["total"]
        torch.testing.assert_close(total, (1 - share) * plain + share * noisy)


def test_the_second_stage_moves_the_kept_classifier_alone() -> None:
    stage, untouched = stage_of(cc_sam, 1), stage_of(cc_sam, 0)
    assert torch.equal(weights(stage.network), weights(untouched.network))
    stage.run_epoch(0)
    assert torch.equal(weights(stage.network.encoder), weights(untouched.network.encoder))
    assert not torch.equal(weights(stage.network.classifier), weights(untouched.network.classifier))


@pytest.mark.parametrize("number", [0, 1])
def test_resumed_equals_uninterrupted(number: int, tmp_path: Path) -> None:
    resumed_equals_whole(lambda: stage_of(cc_sam, number), tmp_path)


@pytest.mark.parametrize("counts", [(9, 1), (6, 6)])
def test_two_classes(counts: tuple[int, int]) -> None:
    for number in (0, 1):
        stage = stage_of(cc_sam, number, counts=counts, stage1={"radius": 0.1})
        stage.run_epoch(0)
        assert bool(torch.isfinite(weights(stage.network)).all())


def test_it_learns() -> None:
    assert falls(stage_of(cc_sam, stage1={"mixup": 0.0}))
    assert falls(stage_of(cc_sam, 1, stage2={"noise_limit": 0.0}))
