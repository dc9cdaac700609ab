"""Flexible Sampling: anchors, difficulty, queries, and a curriculum that survives an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from lmd.errors import SettingsError
from lmd.methods import fs
from lmd.methods.fs import anchors, class_difficulty, image_shares, query_epochs, quotas
from lmd.settings import resolve
from tests.methods.tiny import falls, images, resumed_equals_whole, stage_of, weights

COUNTS = (40, 14, 1)
VAL = images((6, 5, 3), seed=9)


def fs_stage(counts: tuple[int, ...] = COUNTS, epochs: int = 4, **changes: Any) -> Any:
    stage1 = {"epochs": epochs, "anchor_minimum": 3, "warmup": 0.25, "query_every": 1, **changes}
    val = images((6, 5), seed=9) if len(counts) == 2 else VAL
    return stage_of(fs, counts=counts, val=val, stage1=stage1)


def test_anchors_are_the_nearest_to_their_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(30, 4, generator=generator), torch.tensor([0] * 20 + [1] * 8 + [2] * 2)
    found = anchors(features, labels, 0.25, 3)
    assert torch.bincount(labels[found]).tolist() == [5, 3, 2]
    for label in (0, 1):
        mine = labels == label
        cosine = F.cosine_similarity(features[mine], features[mine].mean(0, keepdim=True))
        assert cosine[found[mine]].min() > cosine[~found[mine]].max()


@given(
    st.integers(0, 60),
    st.lists(st.tuples(st.floats(0.01, 1.0), st.integers(0, 20)), min_size=2, max_size=6),
)
def test_quotas_reach_their_number_and_take_no_more_than_there_is(
    number: int, classes: list[tuple[float, int]]
) -> None:
    shares, available = np.array([c[0] for c in classes]), np.array([c[1] for c in classes])
    taken = quotas(number, shares / shares.sum(), available)
    assert taken.sum() == min(number, available.sum())
    assert (taken <= available).all()
    assert (taken >= 0).all()


def test_quotas_are_in_proportion() -> None:
    assert quotas(100, np.array([0.7, 0.2, 0.1]), np.array([500, 500, 500])).tolist() == [70, 20, 10]


def test_difficulty_is_smoothed_and_finite() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0]] * 4)
    labels = torch.tensor([0, 0, 0, 1])
    accuracy = [4 / 5, 1 / 3, 1 / 2]
    assert class_difficulty(logits, labels, "1-acc").tolist() == pytest.approx([1 - a for a in accuracy])
    assert class_difficulty(logits, labels, "1/acc").tolist() == pytest.approx([1 / a for a in accuracy])
    losses = F.cross_entropy(logits.double(), labels, reduction="none")
    expected = [losses[0].item(), losses[3].item(), losses.mean().item()]
    assert class_difficulty(logits, labels, "loss").tolist() == pytest.approx(expected)
    assert bool((class_difficulty(1000 * logits, labels, "loss") > 0).all())


def test_probabilities_of_images_add_up_to_the_shares_of_their_classes() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    active = torch.tensor([True, True, False, True, True, True])
    found = image_shares(active, labels, torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64))
    assert found.tolist() == pytest.approx([0.1, 0.1, 0.0, 0.25, 0.25, 0.3])


def test_the_warm_up_sees_anchors_alone_and_each_class_alike() -> None:
    stage = fs_stage(counts=(300, 100, 30), anchor_share=0.1, anchor_minimum=3)
    stage.active, stage.shares = stage._start()
    assert torch.bincount(stage.context.train.labels[stage.active]).tolist() == [30, 10, 3]
    order = stage.order(0)
    assert len(order) == 430
    assert bool(stage.active[order].all())
    assert np.bincount(stage.context.train.labels[order].numpy()) / 430 == pytest.approx(
        [1 / 3] * 3, abs=0.08
    )


@pytest.mark.parametrize("instance", ["bald", "random"])
def test_the_active_set_only_grows_and_holds_all_in_the_end(instance: str) -> None:
    stage = fs_stage(instance=instance)
    sizes, before = [], None
    for epoch in range(4):
        stage.run_epoch(epoch)
        assert before is None or bool((before & stage.active).sum() == before.sum())
        before = stage.active.clone()
        sizes.append(int(before.sum()))
    assert sizes[0] < sizes[1] < sizes[2] < sizes[3] == sum(COUNTS)


def test_a_query_asks_for_what_is_difficult(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = fs_stage(counts=(40, 40, 40), epochs=5)
    stage.run_epoch(0)
    before = stage.active.clone()
    difficult = torch.tensor([0.1, 0.1, 0.8], dtype=torch.float64)
    monkeypatch.setattr(stage, "_difficulty", lambda kind: difficult)
    stage._query(1)
    joined = torch.bincount(stage.context.train.labels[stage.active & ~before], minlength=3)
    number = -(-int((~before).sum()) // 4)
    assert joined.tolist() == quotas(number, difficult.numpy(), np.array([36] * 3)).tolist()
    assert joined[2] > 5 * joined[0]
    assert stage.shares.tolist() == pytest.approx(difficult.tolist())


def test_the_most_disputed_join_first(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = fs_stage(counts=(40, 40, 40), epochs=5)
    stage.run_epoch(0)
    before, asked = stage.active.clone(), []

    def scores(rows: torch.Tensor, epoch: int) -> torch.Tensor:
        asked.append(rows)
        return rows.float()

    monkeypatch.setattr(stage, "_scores", scores)
    stage._query(1)
    assert torch.equal(asked[0], (~before).nonzero().squeeze(1))
    for label in range(3):
        mine = stage.context.train.labels == label
        joined, left = (mine & stage.active & ~before).nonzero(), (mine & ~stage.active).nonzero()
        assert joined.min() > left.max()


def test_bald_scores_are_a_function_of_the_epoch_and_differ_between_images() -> None:
    stage = fs_stage()
    stage.run_epoch(0)
    rows = (~stage.active).nonzero().squeeze(1)
    first, again, other = stage._scores(rows, 1), stage._scores(rows, 1), stage._scores(rows, 2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert bool((first > -1e-6).all())
    assert float(first.std()) > 0


@pytest.mark.parametrize("difficulty", ["1-acc", "1/acc", "loss"])
def test_every_difficulty_runs(difficulty: str) -> None:
    stage = fs_stage(difficulty=difficulty)
    assert all(np.isfinite(stage.run_epoch(epoch)["total"]) for epoch in range(2))
    assert float(stage.shares.sum()) == pytest.approx(1.0)


def test_flexrs_begins_with_all_images_and_weighs_them_by_their_class_alone() -> None:
    stage = fs_stage(variant="flexrs")
    assert stage.run_epoch(0)["active"] == 1.0
    difficulty = stage._difficulty("1/acc")
    stage.run_epoch(1)
    labels = stage.context.train.labels
    per_image = image_shares(stage.active, labels, stage.shares)
    torch.testing.assert_close(per_image, difficulty[labels] / difficulty[labels].sum())


@pytest.mark.parametrize("changes", [{}, {"warmup": 0.5}, {"instance": "random"}, {"variant": "flexrs"}])
def test_resumed_equals_uninterrupted(changes: dict[str, Any], tmp_path: Path) -> None:
    resumed_equals_whole(lambda: fs_stage(**changes), tmp_path)


def test_the_query_epochs_follow_the_warm_up() -> None:
    stage = fs.FlexibleSettings(warmup=0.3, query_every=2)
    assert query_epochs(12, stage) == [4, 6, 8, 10]
    assert query_epochs(1, stage) == []


def test_two_classes_one_of_a_single_image() -> None:
    stage = fs_stage(counts=(20, 1))
    for epoch in range(3):
        stage.run_epoch(epoch)
    assert bool(torch.isfinite(weights(stage.network)).all())


def test_it_learns() -> None:
    assert falls(fs_stage(variant="flexrs"), epochs=8)


def test_no_validation_images_is_one_clear_error() -> None:
    with pytest.raises(SettingsError, match=r"fs .*validation.* has none"):
        stage_of(fs)


@pytest.mark.parametrize("change", [{"dropout": 0.0}, {"passes": 1}, {"sampling": "balanced"}])
def test_impossible_settings_are_refused_by_name(change: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=rf"stage1\.{next(iter(change))} = "):
        resolve(fs.Settings, {"stage1": change})
