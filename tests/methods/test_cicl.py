"""CICL: balanced batches, a projection that stays in its stage, and a classifier that waits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lmd.errors import SettingsError
from lmd.losses.contrastive import supervised_contrastive
from lmd.methods import cicl
from lmd.methods.cicl import balanced_batches
from lmd.settings import resolve
from tests.methods.tiny import COUNTS, falls, resumed_equals_whole, stage_of, weights


@pytest.mark.parametrize(
    ("counts", "batch"), [((90, 30, 10), 12), ((90, 30, 10), 16), ((9, 1), 4), ((5, 4, 3, 2, 1), 4)]
)
def test_each_batch_holds_each_class_equally_often(counts: tuple[int, ...], batch: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    rows = balanced_batches(labels, batch, seed=3)
    assert len(rows) == max(len(labels) // batch, 1) * batch
    for start in range(0, len(rows), batch):
        found = np.bincount(labels[rows[start : start + batch]], minlength=len(counts))
        assert set(found) <= {batch // len(counts), batch // len(counts) + 1}


def test_no_image_of_a_class_comes_twice_before_all_have_come() -> None:
    labels = np.repeat([0, 1], [40, 4])
    rows = balanced_batches(labels, 8, seed=3)
    rare = rows[labels[rows] == 1]
    assert len(rare) == 20
    for start in range(0, 20, 4):
        assert sorted(rare[start : start + 4]) == [40, 41, 42, 43]


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    stage = stage_of(cicl)
    assert np.array_equal(stage.order(0), stage_of(cicl).order(0))
    assert not np.array_equal(stage.order(0), stage.order(1))
    assert not np.array_equal(stage.order(0), stage_of(cicl, seed=1).order(0))


def test_another_sampling_is_obeyed() -> None:
    assert sorted(stage_of(cicl, stage1={"sampling": "instance"}).order(0)) == list(range(sum(COUNTS)))


def test_encoder_and_projection_learn_and_the_classifier_waits() -> None:
    stage = stage_of(cicl)
    before = [weights(part) for part in (stage.network.encoder, stage.projection, stage.network.classifier)]
    assert falls(stage)
    after = [weights(part) for part in (stage.network.encoder, stage.projection, stage.network.classifier)]
    same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [False, False, True]
    assert not any("projection" in name for name in stage.deliver().state_dict())


def test_the_loss_is_that_of_two_different_views() -> None:
    stage = stage_of(cicl)
    batch = next(stage.batches(stage.order(0)))
    views = stage.views(batch, 0)
    assert not torch.equal(views["first"], views["second"])
    again = stage.views(batch, 0)
    assert all(torch.equal(views[name], again[name]) for name in views)
    stage.network.eval()
    projected = [stage.projection(stage.network(view).features) for view in views.values()]
    expected = supervised_contrastive(torch.cat(projected), batch.labels.repeat(2), 0.1)
    torch.testing.assert_close(stage.loss(views, batch.labels, 0.0)["total"], expected)


@pytest.mark.parametrize("number", [0, 1])
def test_resumed_equals_uninterrupted(number: int, tmp_path: Path) -> None:
    resumed_equals_whole(lambda: stage_of(cicl, number), tmp_path)


def test_two_classes_one_of_a_single_image() -> None:
    assert np.isfinite(stage_of(cicl, counts=(9, 1)).run_epoch(0)["total"])


def test_the_second_stage_moves_a_new_classifier_alone() -> None:
    stage = stage_of(cicl, 1)
    before = weights(stage.network.encoder), weights(stage.network.classifier)
    assert falls(stage)
    assert torch.equal(before[0], weights(stage.network.encoder))
    assert not torch.equal(before[1], weights(stage.network.classifier))


def test_a_temperature_of_zero_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"stage1\.temperature = 0"):
        resolve(cicl.Settings, {"stage1": {"temperature": 0}})
