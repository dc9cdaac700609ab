"""Focal and CB-Focal: the start of the sigmoids, the bias without decay, the weights of the classes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from lmd.errors import SettingsError
from lmd.losses.focal import focal_loss, sigmoid_focal_loss
from lmd.methods import cb_focal, focal
from lmd.settings import resolve
from tests.methods.tiny import COUNTS, stage_of

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 1, 0, 2])


def criterion(module: Any, **stage1: Any) -> torch.Tensor:
    return stage_of(module, stage1=stage1).criterion(LOGITS, LABELS, 0.0)["focal"]


def test_gamma_0_is_cross_entropy() -> None:
    torch.testing.assert_close(criterion(focal, gamma=0.0), F.cross_entropy(LOGITS, LABELS))


def test_focal_as_configured() -> None:
    assert torch.equal(criterion(focal), focal_loss(LOGITS, LABELS, 2.0))
    sigmoid = criterion(focal, form="sigmoid", alpha=0.25)
    assert torch.equal(sigmoid, sigmoid_focal_loss(LOGITS, LABELS, 2.0, 0.25))


def test_cb_focal_weighs_by_the_effective_number() -> None:
    raw = [(1 - 0.9999) / (1 - 0.9999**n) for n in COUNTS]
    weights = torch.tensor([3 * w / sum(raw) for w in raw])
    torch.testing.assert_close(criterion(cb_focal), sigmoid_focal_loss(LOGITS, LABELS, 1.0, weights=weights))
    softmax = criterion(cb_focal, form="softmax", gamma=2.0)
    torch.testing.assert_close(softmax, focal_loss(LOGITS, LABELS, 2.0, weights))


def test_equal_counts_make_cb_focal_focal() -> None:
    stage = stage_of(cb_focal, counts=(5, 5, 5))
    loss = stage.criterion(LOGITS, LABELS, 0.0)["focal"]
    torch.testing.assert_close(loss, sigmoid_focal_loss(LOGITS, LABELS, 1.0))


def test_the_sigmoids_start_at_one_over_k_without_decay() -> None:
    decaying = {"lr": 0.01, "momentum": 0.0, "weight_decay": 0.5}
    stage = stage_of(cb_focal, stage1={"optimisation": decaying})
    head = stage.network.classifier
    torch.testing.assert_close(head.bias.sigmoid(), torch.full((3,), 1 / 3))
    every = {id(parameter) for group in stage.optimiser.param_groups for parameter in group["params"]}
    assert every == {id(parameter) for parameter in stage.network.parameters()}
    for parameter in stage.network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    weight = head.weight.detach().clone()
    stage.optimiser.step()
    torch.testing.assert_close(head.bias.detach(), torch.full((3,), -math.log(2)))
    torch.testing.assert_close(head.weight.detach(), weight * (1 - 0.01 * 0.5))


def test_the_softmax_form_leaves_the_bias_alone() -> None:
    assert len(stage_of(focal).optimiser.param_groups) == 1
    assert len(set(stage_of(focal).network.classifier.bias.tolist())) == 3


@pytest.mark.parametrize(("module", "form"), [(focal, {}), (cb_focal, {"form": "softmax"})])
def test_alpha_without_sigmoids_is_refused(module: Any, form: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"setting stage1\.alpha = 0\.25: .* form sigmoid"):
        resolve(module.Settings, {"stage1": {"alpha": 0.25, **form}})
