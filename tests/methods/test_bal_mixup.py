"""Balanced-MixUp: the streams, the weight, and cross entropy at its two ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lmd.data.feed.views import view
from lmd.errors import SettingsError
from lmd.losses.classification import cross_entropy
from lmd.methods import bal_mixup, ce
from lmd.settings import resolve
from tests.methods.tiny import falls, first_gradient, resumed_equals_whole, stage_of


def fix_weight(monkeypatch: pytest.MonkeyPatch, weight: float) -> None:
    monkeypatch.setattr(bal_mixup, "draw_weight", lambda alpha: torch.tensor(weight))


def test_weight_zero_is_cross_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    fix_weight(monkeypatch, 0.0)
    found, expected = first_gradient(stage_of(bal_mixup)), first_gradient(stage_of(ce))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    losses = [stage_of(method).run_epoch(0)["cross_entropy"] for method in (bal_mixup, ce)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_each_batch_is_one_of_each_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stage_of(bal_mixup, counts=(200, 20, 20))
    order, plain = stage.order(0), stage_of(ce, counts=(200, 20, 20)).order(0)
    assert np.array_equal(order[:, 0], plain)
    shares = np.bincount(stage.context.train.labels.numpy()[order[:, 1]]) / len(order)
    assert shares == pytest.approx([1 / 3] * 3, abs=0.1)
    batches = list(stage.batches(order))
    assert len(batches) == 240 // 8
    for number, batch in enumerate(batches):
        block = order[8 * number : 8 * number + 8]
        assert np.array_equal(batch.index.numpy(), np.concatenate([block[:, 0], block[:, 1]]))


def test_the_loss_against_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    fix_weight(monkeypatch, 0.3)
    stage = stage_of(bal_mixup)
    batch = next(stage.batches(stage.order(0)))
    stage.network.eval()
    found = stage.loss(stage.views(batch, 0), batch.labels, 0.0)["total"]
    images = view("weak", batch.images, batch.index, stage.common.seed, 0)
    losses = []
    for first in range(8):
        second = first + 8
        logits = stage.network((0.7 * images[first] + 0.3 * images[second])[None]).logits
        pair = [cross_entropy(logits, batch.labels[row : row + 1]) for row in (first, second)]
        losses.append(0.7 * pair[0] + 0.3 * pair[1])
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_the_weight_follows_beta_alpha_1() -> None:
    torch.manual_seed(0)
    draws = torch.stack([bal_mixup.draw_weight(0.2) for _ in range(4000)])
    for value in (0.001, 0.1, 0.5, 0.9):  # P(lam <= x) = x^alpha
        assert float((draws <= value).double().mean()) == pytest.approx(value**0.2, abs=0.025)


@pytest.mark.parametrize("alpha", [0, -0.1])
def test_alpha_has_to_be_positive(alpha: float) -> None:
    with pytest.raises(SettingsError, match=r"stage1\.alpha = "):
        resolve(bal_mixup.Settings, {"stage1": {"alpha": alpha}})


def test_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    resumed_equals_whole(lambda: stage_of(bal_mixup), tmp_path)


def test_fewer_images_than_a_batch_and_two_classes() -> None:
    stage = stage_of(bal_mixup, counts=(4, 1))
    assert np.isfinite(stage.run_epoch(0)["total"])
    assert stage.step == 1


def test_it_learns() -> None:
    assert falls(stage_of(bal_mixup), epochs=8)
