"""Logit adjustment and balanced softmax: what they do to the classifier, the loss, and to each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from lmd.errors import SettingsError
from lmd.losses.prior import prior_cross_entropy
from lmd.methods import balanced_softmax, logit_adjustment, rrl_logit_adjustment
from lmd.models.classifier import build_classifier
from lmd.settings import resolve
from tests.methods.tiny import COUNTS, images, network, stage_of, weights

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 1, 0, 2])


@pytest.mark.parametrize("tau", [0.0, 1.0, 1.5])
def test_post_hoc_takes_the_prior_out_of_the_logits(tau: float) -> None:
    stage = stage_of(logit_adjustment, 1, adjustment=tau)
    features = torch.randn(4, stage.network.classifier.weight.shape[1])
    before = stage.network.classifier(features).detach()
    assert stage.run_epoch(0) == {"adjustment": tau}
    shares = torch.tensor(COUNTS) / sum(COUNTS)
    torch.testing.assert_close(stage.network.classifier(features), before - tau * shares.log())


def test_the_factor_is_chosen_on_validation() -> None:
    """A head that always says the largest class, and validation images of the smallest: tau must grow."""
    stage = stage_of(logit_adjustment, 1, val=images((0, 0, 6)), adjustment=None)
    head = stage.network.classifier
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
    tau = stage.run_epoch(0)["adjustment"]
    # 5 - tau log(20/28) < -tau log(1/28), first reached on the grid at 1.7.
    assert tau == 1.7
    assert int(head.bias.argmax()) == 2


def test_the_loss_variant_is_one_stage_with_the_prior_in_it() -> None:
    stage = stage_of(logit_adjustment, variant="loss", adjustment=0.5)
    loss = stage.criterion(LOGITS, LABELS, 0.0)["adjusted_cross_entropy"]
    assert torch.equal(loss, prior_cross_entropy(LOGITS, LABELS, torch.tensor(COUNTS), 0.5))
    settings = resolve(logit_adjustment.Settings, {"variant": "loss"})
    assert len(logit_adjustment.stages(settings, stage.context.train.counts)) == 1


def test_equal_counts_are_cross_entropy() -> None:
    for module, changes in ((balanced_softmax, {}), (logit_adjustment, {"variant": "loss"})):
        stage = stage_of(module, counts=(4, 4, 4), **changes)
        (loss,) = stage.criterion(LOGITS, LABELS, 0.0).values()
        torch.testing.assert_close(loss, F.cross_entropy(LOGITS, LABELS))
    stage = stage_of(logit_adjustment, 1, counts=(4, 4, 4))
    before = stage.network.classifier(torch.ones(1, stage.network.classifier.weight.shape[1])).softmax(1)
    stage.run_epoch(0)
    after = stage.network.classifier(torch.ones(1, stage.network.classifier.weight.shape[1])).softmax(1)
    torch.testing.assert_close(after, before)


def test_balanced_softmax_is_the_loss_variant_at_tau_1_to_the_bit() -> None:
    first, second = stage_of(balanced_softmax), stage_of(logit_adjustment, variant="loss")
    assert first.run_epoch(0)["total"] == second.run_epoch(0)["total"]
    assert torch.equal(weights(first.network), weights(second.network))


def test_a_loss_without_a_factor_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"setting adjustment = None: .* only post_hoc can choose it"):
        resolve(logit_adjustment.Settings, {"variant": "loss", "adjustment": None})


def test_a_classifier_without_a_bias_is_refused() -> None:
    stage = stage_of(logit_adjustment, 1)
    stage.context.network.classifier = build_classifier("cosine", 4, 3, 0)
    with pytest.raises(SettingsError, match=r"needs a linear classifier .* found CosineClassifier"):
        stage.prepare(stage.context)


def test_the_other_parts_of_the_network_are_left_alone() -> None:
    stage = stage_of(logit_adjustment, 1)
    stage.run_epoch(0)
    assert torch.equal(weights(stage.network.encoder), weights(network().encoder))


@pytest.mark.parametrize("method", [logit_adjustment, rrl_logit_adjustment], ids=["la", "rrl-la"])
def test_tau_alone_may_mean_two_things(method: Any) -> None:
    """Its own factor was called tau; an old recipe must not shift the decisions, too."""
    for tau in (0.0, 1.0, None):
        with pytest.raises(SettingsError, match=r"tau alone may mean two things here: 'adjustment' is"):
            resolve(method.Settings, {"tau": tau})
    both = resolve(method.Settings, {"tau": 0.5, "adjustment": 0.0})
    assert (both.tau, both.adjustment) == (0.5, 0.0)
    assert resolve(method.Settings, {"tau": "validation"}).adjustment == 1.0


@pytest.mark.parametrize(
    ("adjustment", "sampling", "prior"),
    [(1.0, "instance", "uniform"), (0.0, "instance", "training"), (0.5, "instance", "unknown"),
     (None, "instance", "unknown"), (1.0, "balanced", "unknown")],
)  # fmt: skip
def test_the_prior_that_is_left(adjustment: float | None, sampling: str, prior: str) -> None:
    for method in (logit_adjustment, rrl_logit_adjustment):
        settings = resolve(method.Settings, {"adjustment": adjustment, "stage1": {"sampling": sampling}})
        assert method.prior(settings) == prior
