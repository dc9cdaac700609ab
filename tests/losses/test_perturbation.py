"""CC-SAM's perturbations against autograd and a loop over the classes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from lmd.losses.perturbation import (
    ClassShift,
    class_gradients,
    class_shifts,
    feature_noise,
    shifted_logits,
)

_GENERATOR = torch.Generator().manual_seed(0)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=_GENERATOR)


FEATURES, WEIGHT, BIAS = draw(6, 5), draw(4, 5), draw(4)
LABELS = torch.tensor([0, 0, 1, 0, 3, 1])  # Class 2 is absent, class 3 has one image.
TARGETS = 0.7 * F.one_hot(LABELS, 4) + 0.3 * F.one_hot(LABELS.flip(0), 4)
COUNTS = torch.tensor([100.0, 10.0, 5.0, 1.0], dtype=torch.float64)
LOGITS = F.linear(FEATURES, WEIGHT, BIAS)


def gradient_of_class(label: int) -> tuple[torch.Tensor, torch.Tensor]:
    """By autograd, as the authors do it."""
    weight, bias = WEIGHT.clone().requires_grad_(), BIAS.clone().requires_grad_()
    losses = -(TARGETS * F.linear(FEATURES, weight, bias).log_softmax(1)).sum(1)
    return torch.autograd.grad(losses[label == LABELS].mean(), [weight, bias])


def test_gradients_are_those_of_autograd_and_zero_for_an_absent_class() -> None:
    found = class_gradients(FEATURES, LOGITS, TARGETS, LABELS)
    for label in (0, 1, 3):
        weight, bias = gradient_of_class(label)
        torch.testing.assert_close(found.weight[label], weight)
        torch.testing.assert_close(found.bias[label], bias)
    assert not found.weight[2].any()
    assert not found.bias[2].any()


def test_the_step_against_its_formula_class_by_class() -> None:
    gradients = class_gradients(FEATURES, LOGITS, TARGETS, LABELS)
    found = class_shifts(gradients, WEIGHT, BIAS, COUNTS, 0.1)
    values = [*WEIGHT.flatten().tolist(), *BIAS.tolist()]
    size, joint = len(values), math.sqrt(sum(value**2 for value in values))
    for label in (0, 1, 3):
        for part, gradient in zip(found, gradient_of_class(label), strict=True):
            rare = max(COUNTS[label].item() - 1, 1.0) ** 0.25
            length = 0.1 * math.sqrt(joint) / math.sqrt(float(gradient.norm()))
            length *= math.sqrt(size) / (math.sqrt(2) * rare * size**0.25)
            torch.testing.assert_close(part[label], length * gradient / gradient.norm())
    assert not found.weight[2].any()
    assert all(bool(torch.isfinite(part).all()) for part in found)


def test_a_bias_of_zeros_is_moved_all_the_same() -> None:
    """Its radius is from the norm of weight and bias together, which is not 0."""
    gradients = class_gradients(FEATURES, LOGITS, TARGETS, LABELS)
    found = class_shifts(gradients, WEIGHT, torch.zeros_like(BIAS), COUNTS, 0.1)
    assert all(bool(found.bias[label].any()) for label in (0, 1, 3))


def test_a_rarer_class_takes_a_longer_step() -> None:
    gradient = ClassShift(torch.ones(4, 4, 5).double(), torch.ones(4, 4).double())
    lengths = class_shifts(gradient, WEIGHT, BIAS, COUNTS, 1.0).weight.flatten(1).norm(dim=1)
    assert lengths.diff().gt(0).all()


def test_each_image_is_judged_by_the_classifier_of_its_class() -> None:
    shifts = ClassShift(draw(4, 4, 5), draw(4, 4))
    found = shifted_logits(FEATURES, LOGITS, LABELS, shifts)
    for row, label in enumerate(LABELS.tolist()):
        expected = F.linear(FEATURES[row], WEIGHT + shifts.weight[label], BIAS + shifts.bias[label])
        torch.testing.assert_close(found[row], expected)


def test_the_loss_grows_along_the_step() -> None:
    shifts = class_shifts(class_gradients(FEATURES, LOGITS, TARGETS, LABELS), WEIGHT, BIAS, COUNTS, 0.1)
    moved = shifted_logits(FEATURES, LOGITS, LABELS, shifts)
    losses = [-(TARGETS * logits.log_softmax(1)).sum(1) for logits in (LOGITS, moved)]
    for label in (0, 1, 3):
        assert losses[1][label == LABELS].mean() > losses[0][label == LABELS].mean()


def test_the_gradient_reaches_features_and_classifier_through_the_shifted_logits() -> None:
    shifts = ClassShift(draw(4, 4, 5), draw(4, 4))

    def loss(features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        logits = shifted_logits(features, F.linear(features, weight, bias), LABELS, shifts)
        return -(TARGETS * logits.log_softmax(1)).sum(1).mean()

    parts = [part.clone().requires_grad_() for part in (FEATURES, WEIGHT, BIAS)]
    torch.autograd.gradcheck(loss, parts)


def test_noise_is_the_gradient_of_the_class_at_its_strength() -> None:
    strengths = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    found = feature_noise(LOGITS, LABELS, WEIGHT, strengths)
    features = FEATURES.clone().requires_grad_()
    losses = F.cross_entropy(F.linear(features, WEIGHT, BIAS), LABELS, reduction="none")
    for label in (0, 1, 3):
        mine = label == LABELS
        (gradient,) = torch.autograd.grad(losses[mine].mean(), features, retain_graph=True)
        torch.testing.assert_close(found[mine], (strengths[label] * gradient / gradient.norm())[mine])


def test_an_image_that_is_learned_perfectly_gets_no_noise() -> None:
    noise = feature_noise(torch.tensor([[500.0, -500.0]]), torch.tensor([0]), torch.ones(2, 3), torch.ones(2))
    assert not noise.any()
