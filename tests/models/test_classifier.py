"""Classifiers: what each computes, where it starts, and that its kind is known by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lmd.models.classifier import (
    CLASSIFIERS,
    CosineClassifier,
    LinearClassifier,
    PrototypeClassifier,
    build_classifier,
    classifier_kind,
)

KINDS = sorted(CLASSIFIERS)


def features(count: int = 6, channels: int = 4) -> Tensor:
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_a_classifier_is_known_by_its_name(kind: str) -> None:
    head = build_classifier(kind, 4, 3, seed=0)
    assert classifier_kind(head) == kind
    assert head(features()).shape == (6, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_classifier_comes_back_from_its_weights(kind: str) -> None:
    """All that it computes with is saved, such as a scale or a centre, whatever it was built with."""
    head = build_classifier(kind, 4, 3, seed=0, scale=7.0)
    with torch.no_grad():
        for tensor in head.state_dict().values():
            tensor.add_(0.5)
    other = build_classifier(kind, 4, 3, seed=1)
    assert not torch.equal(other(features()), head(features()))
    other.load_state_dict(head.state_dict())
    assert torch.equal(other(features()), head(features()))


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_a_new_classifier_is_a_function_of_its_seed_alone(kind: str) -> None:
    torch.manual_seed(1)
    first = build_classifier(kind, 4, 3, seed=5).state_dict()["weight"]
    torch.manual_seed(2)
    again = build_classifier(kind, 4, 3, seed=5).state_dict()["weight"]
    assert torch.equal(first, again)
    assert not torch.equal(first, build_classifier(kind, 4, 3, seed=6).state_dict()["weight"])


def test_a_new_linear_classifier_is_drawn_as_torch_draws_one() -> None:
    """Uniform in +-1/sqrt(C): the bias as well, and independent of the weights."""
    head = LinearClassifier(100, 50, seed=0)
    for parameter in (head.weight, head.bias):
        assert float(parameter.detach().abs().max()) <= 0.1
    assert float(head.weight.detach().std()) == pytest.approx(0.1 / 3**0.5, rel=0.05)
    assert float(head.bias.detach().abs().max()) > 0.08
    assert not torch.equal(head.weight.detach()[0, :50], head.bias.detach())


def test_a_cosine_classifier_against_torch() -> None:
    head = CosineClassifier(4, 3, seed=0, scale=20.0)
    expected = 20.0 * nn.functional.cosine_similarity(features()[:, None], head.weight[None], dim=2)
    torch.testing.assert_close(head(features()), expected)
    torch.testing.assert_close(head(100.0 * features()), expected)


def test_cosines_are_in_full_precision_under_autocast() -> None:
    head = CosineClassifier(512, 3, seed=0)
    some = features(8, 512)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head.cosines(some)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, head.cosines(some))


def test_a_feature_of_zeros_has_a_finite_gradient() -> None:
    zeros = torch.zeros(2, 4, requires_grad=True)
    CosineClassifier(4, 3, seed=0)(zeros).sum().backward()
    assert zeros.grad is not None
    assert bool(torch.isfinite(zeros.grad).all())


@pytest.mark.parametrize("unit", [0.0, 1.0])
def test_prototypes_by_hand(unit: float) -> None:
    """-scale times the squared distance, of centred and (where `unit`) normalised features."""
    head = PrototypeClassifier(4, 3, seed=0)
    prototypes, centre = features(3), features(1)[0]
    head.load_state_dict(
        {"centre": centre, "unit": torch.tensor(unit), "scale": torch.tensor(2.0), "prototypes": prototypes}
    )
    logits = head(features())
    for i, z in enumerate(features()):
        h = z - centre
        if unit:
            h = h / h.norm()
        for k, m in enumerate(prototypes):
            assert float(logits[i, k]) == pytest.approx(-2.0 * float(((h - m) ** 2).sum()), abs=1e-4)


def test_a_prototype_classifier_has_nothing_to_train() -> None:
    assert list(PrototypeClassifier(4, 3, seed=0).parameters()) == []


def test_a_prototype_itself_is_of_its_class() -> None:
    head = PrototypeClassifier(4, 3, seed=0)
    head.prototypes.copy_(features(3))
    assert head(features(3)).argmax(1).tolist() == [0, 1, 2]
