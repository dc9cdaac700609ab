"""CB+WD+Max: the bound holds after every step, and comes from the classifier of stage 1."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lmd.errors import SettingsError
from lmd.losses.classification import cross_entropy
from lmd.methods import weight_balancing
from lmd.methods.weight_balancing import bound_norms, norm_bound
from lmd.settings import resolve
from lmd.stages.base import StageContext, new_classifier
from tests.methods.tiny import falls, resumed_equals_whole, stage_of, weights


def test_no_norm_exceeds_the_bound_after_any_step(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stage_of(weight_balancing, 1, stage2={"optimisation": {"lr": 0.5}})
    bound = norm_bound(stage.network.classifier.weight.detach(), 0.1)
    largest = []
    after_step = stage.after_step

    def watch() -> None:
        before = float(stage.network.classifier.weight.detach().norm(dim=1).max())
        after_step()
        largest.append((before, float(stage.network.classifier.weight.detach().norm(dim=1).max())))

    monkeypatch.setattr(stage, "after_step", watch)
    stage.run_epoch(0)
    assert len(largest) == 28 // 8
    assert any(before > 1.01 * float(bound) for before, _ in largest)
    assert all(after <= float(bound) * (1 + 1e-6) for _, after in largest)


def test_short_rows_are_left_alone_and_directions_kept() -> None:
    weight = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    found = bound_norms(weight, torch.tensor(1.0))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))


def test_the_classifier_is_kept_and_only_it_moves() -> None:
    stage, untouched = stage_of(weight_balancing, 1), stage_of(weight_balancing, 0)
    assert torch.equal(weights(stage.network), weights(untouched.network))
    before = weights(stage.network.encoder)
    stage.run_epoch(0)
    assert torch.equal(before, weights(stage.network.encoder))
    assert not torch.equal(weights(stage.network.classifier), weights(untouched.network.classifier))


def test_equal_classes_have_the_plain_cross_entropy() -> None:
    stage = stage_of(weight_balancing, 1, counts=(6, 6))
    logits, labels = torch.randn(8, 2), torch.tensor([0, 1] * 4)
    found = stage.criterion(logits, labels, 0.0)["class_balanced"]
    torch.testing.assert_close(found, cross_entropy(logits, labels))


def test_a_rare_class_weighs_by_its_effective_number() -> None:
    weight = stage_of(weight_balancing, 1, counts=(100, 1)).class_weights
    expected = torch.tensor([(1 - 0.9999) / (1 - 0.9999**100), 1.0], dtype=torch.float64)
    torch.testing.assert_close(weight, (expected * 2 / expected.sum()).float(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("form", ["weighted_ce", "bce"])
def test_both_forms_learn(form: str) -> None:
    assert falls(stage_of(weight_balancing, 1, stage2={"cb_form": form, "max_norm": 1.0}), epochs=8)


@pytest.mark.parametrize("number", [0, 1])
def test_resumed_equals_uninterrupted(number: int, tmp_path: Path) -> None:
    resumed_equals_whole(lambda: stage_of(weight_balancing, number), tmp_path)


def test_weight_decay_is_on_in_both_stages() -> None:
    decays = [stage_of(weight_balancing, n).optimiser.param_groups[0]["weight_decay"] for n in (0, 1)]
    assert decays[1] > decays[0] > 0


def test_another_kind_of_classifier_is_one_clear_error() -> None:
    stage = stage_of(weight_balancing, 1)
    context: StageContext = stage.context
    new_classifier(context, "cosine", 16.0, 0)
    with pytest.raises(SettingsError, match="needs a linear classifier"):
        stage.prepare(context)


@pytest.mark.parametrize("change", [{"beta": 1.0}, {"max_norm": -0.1}, {"cb_form": "focal"}])
def test_impossible_settings_are_refused_by_name(change: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=rf"stage2\.{next(iter(change))} = "):
        resolve(weight_balancing.Settings, {"stage2": change})
