"""Flexible Sampling against loops over classes and images: anchors, trigger, quotas, and a new optimiser."""

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
from lmd.methods.fs import anchors, class_accuracies, quotas
from lmd.models.inference import encode
from lmd.settings import resolve
from tests.methods.tiny import falls, images, resumed_equals_whole, stage_of, weights

COUNTS = (40, 14, 1)
VAL = images((6, 5, 3), seed=9)
# A query after each epoch, of a part of the pool that few images make a number of.
OFTEN: dict[str, Any] = {"warmup": 0, "patience": 0, "query_ratio": 1.0}


def fs_stage(counts: tuple[int, ...] = COUNTS, epochs: int = 4, **changes: Any) -> Any:
    val = images((6, 5), seed=9) if len(counts) == 2 else VAL
    return stage_of(fs, counts=counts, val=val, stage1={"epochs": epochs, **changes})


def answering(
    monkeypatch: pytest.MonkeyPatch, stage: Any, overall: list[float], of_classes: list[float]
) -> None:
    """Makes validation answer with these accuracies, one for each epoch, instead of the network's."""
    answers = iter(overall)
    monkeypatch.setattr(stage, "_validate", lambda: (next(answers), np.array(of_classes)))


# Anchors.


@pytest.mark.parametrize(("counts", "scaling"), [([30, 12, 3], 0.25), ([30, 3, 1], 0.1), ([9, 8, 8], 0.05)])
def test_anchors_against_a_loop_over_the_classes(counts: list[int], scaling: float) -> None:
    """As the authors count them: the imbalance r = n_max / n_min becomes r s, a small class keeps its images."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    features = torch.randn(len(labels), 4, generator=generator)
    found = anchors(features, labels, scaling, 2)
    for label, count in enumerate(counts):
        smallest = min(counts)
        ratio = max(counts) / smallest * scaling
        number = min(count, max(2, int(smallest * min(count / smallest, ratio) + 1e-9)))
        rows = [row for row in range(len(labels)) if labels[row] == label]
        mean = [sum(float(features[row, d]) for row in rows) / count for d in range(4)]
        distance = {row: sum((float(features[row, d]) - mean[d]) ** 2 for d in range(4)) for row in rows}
        nearest = sorted(rows, key=distance.__getitem__)[:number]
        assert sorted(nearest) == [row for row in rows if found[row]]


def test_the_first_epochs_see_each_anchor_once() -> None:
    stage = fs_stage(counts=(300, 100, 30))
    stage.active = stage._anchors()
    assert torch.bincount(stage.context.train.labels[stage.active]).tolist() == [30, 30, 30]
    first, second = stage.order(0), stage.order(1)
    assert sorted(first) == sorted(second) == stage.active.nonzero().squeeze(1).tolist()
    assert list(first) != list(second)


# When a query comes, and of what.


@pytest.mark.parametrize(
    ("warmup", "patience", "overall", "queries"),
    [
        (0, 2, [0.5, 0.5, 0.5, 0.6, 0.6, 0.6, 0.6], [2, 5]),  # The second epoch without a rise; then anew.
        (4, 2, [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [4, 6]),  # The warm-up is waited for, its epochs count.
        (0, 3, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], []),
        (0, 1, [0.5, 0.4, 0.5, 0.5, 0.51, 0.5, 0.5], [1, 2, 3, 5, 6]),  # As good as the best is no rise.
    ],
)
def test_a_query_comes_when_validation_no_longer_improves(
    warmup: int, patience: int, overall: list[float], queries: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = fs_stage(counts=(60, 40, 30), warmup=warmup, patience=patience)
    answering(monkeypatch, stage, overall, [0.5, 0.5, 0.5])
    found = []
    for epoch in range(len(overall)):
        before = stage.optimiser
        size = stage.run_epoch(epoch)["active"]
        if float(stage.active.double().mean()) > size:
            found.append(epoch)
        # A new optimiser, without the state of the old one, after a query and only then.
        assert (stage.optimiser is before) == (epoch not in found)
        assert bool(stage.optimiser.state) == (epoch not in found)
    assert found == queries


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=2, max_size=8),
    st.sampled_from([0.0, 0.125, 0.5, 1.0]),
)
def test_quotas_against_a_loop_over_the_classes(classes: list[tuple[int, float]], ratio: float) -> None:
    found = quotas(np.array([pool for pool, _ in classes]), np.array([acc for _, acc in classes]), ratio)
    difficult = sum(1 - accuracy for _, accuracy in classes)
    for number, (pool, accuracy) in zip(found.tolist(), classes, strict=True):
        share = (1 - accuracy) / difficult if difficult > 0 else 1 / len(classes)
        exact = pool * ratio * share
        assert number == 0 if pool == 0 else 1 <= number <= pool
        assert number in {min(pool, max(1, int(exact + tiny))) for tiny in (-1e-9, 0, 1e-9)}


def test_a_query_takes_the_quota_of_each_class_the_most_disputed_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = fs_stage(counts=(200, 120, 60), query_ratio=0.5)
    stage.active = stage._anchors()
    before = stage.active.clone()
    asked: list[torch.Tensor] = []

    def scores(rows: torch.Tensor, epoch: int) -> torch.Tensor:
        asked.append(rows)
        return rows.float()

    monkeypatch.setattr(stage, "_scores", scores)
    stage._query(3, np.array([0.75, 0.5, 0.75]))
    labels = stage.context.train.labels
    assert torch.bincount(labels[before]).tolist() == [20, 20, 20]
    joined = torch.bincount(labels[stage.active & ~before], minlength=3)
    assert joined.tolist() == [int(0.5 * 180 * 0.25), int(0.5 * 100 * 0.5), int(0.5 * 40 * 0.25)]
    assert torch.equal(asked[0], (~before).nonzero().squeeze(1))
    for label in range(3):
        mine = labels == label
        assert (mine & stage.active & ~before).nonzero().min() > (mine & ~stage.active).nonzero().max()


def test_accuracies_against_a_loop_over_the_images_and_a_class_without_any() -> None:
    stage = fs_stage()
    overall, of_classes = stage._validate()
    predictions = encode(stage.network, VAL, stage.context.runtime).logits.argmax(1).tolist()
    pairs = list(zip(predictions, VAL.labels.tolist(), strict=True))
    assert overall == pytest.approx(sum(p == y for p, y in pairs) / len(pairs))
    for label in range(3):
        mine = [p == y for p, y in pairs if y == label]
        assert of_classes[label] == pytest.approx(sum(mine) / len(mine))
    assert class_accuracies(torch.tensor([True]), torch.tensor([0]), 3).tolist() == [1, 0, 0]


def test_bald_scores_against_the_formula_and_as_a_function_of_the_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = fs_stage(passes=3)
    rows = torch.arange(20)
    first, again, other = stage._scores(rows, 1), stage._scores(rows, 1), stage._scores(rows, 2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert float(first.std()) > 0
    seen: list[torch.Tensor] = []
    head = stage.network.classifier.forward
    monkeypatch.setattr(stage.network.classifier, "forward", lambda z: seen.append(head(z)) or seen[-1])
    stage._scores(rows, 1)
    passes = [logits.double().softmax(1) for logits in seen[-3:]]
    for row in range(20):
        mean = sum(p[row] for p in passes) / 3
        between = -sum(float(q) * np.log(float(q)) for q in mean)
        within = sum(-sum(float(q) * np.log(float(q)) for q in p[row]) for p in passes) / 3
        assert float(first[row]) == pytest.approx(between - within, abs=1e-5)


# The training.


def test_it_is_cross_entropy_by_adam_at_the_authors_rate() -> None:
    stage = stage_of(fs, val=VAL)
    assert isinstance(stage.optimiser, torch.optim.Adam)
    (group,) = stage.optimiser.param_groups
    assert (group["lr"], tuple(group["betas"]), group["weight_decay"]) == (3e-4, (0.9, 0.999), 0.0)
    stage.active = stage._anchors()
    stage.set_mode()
    batch = next(stage.batches(stage.order(0)))
    views = stage.views(batch, 0)
    loss = stage.loss(views, batch.labels, 0.0)["total"]
    torch.testing.assert_close(loss, F.cross_entropy(stage.network(views["weak"]).logits, batch.labels))


def test_the_active_set_only_grows() -> None:
    stage = fs_stage(**OFTEN)
    sizes, before = [], None
    for epoch in range(6):
        sizes.append(stage.run_epoch(epoch)["active"] * sum(COUNTS))
        assert before is None or bool((before & stage.active).sum() == before.sum())
        before = stage.active.clone()
    assert sizes[0] == 4 + 4 + 1
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]


def test_with_nothing_left_in_the_pool_there_is_no_query() -> None:
    stage = fs_stage(**OFTEN)
    stage.active = torch.ones(sum(COUNTS), dtype=torch.bool)
    before = stage.optimiser
    assert stage.run_epoch(0)["active"] == 1.0
    assert stage.optimiser is before


@pytest.mark.parametrize("changes", [{}, OFTEN, {**OFTEN, "patience": 1}])
def test_resumed_equals_uninterrupted(changes: dict[str, Any], tmp_path: Path) -> None:
    resumed_equals_whole(lambda: fs_stage(**changes), tmp_path)


def test_a_resumed_curriculum_remembers_how_validation_went(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, half = fs_stage(patience=2, warmup=0), fs_stage(patience=2, warmup=0)
    answering(monkeypatch, whole, [0.5, 0.4], [0.5] * 3)
    for epoch in range(2):
        whole.run_epoch(epoch)
    half.load_state_dict(whole.state_dict())
    assert (half.best, half.stale) == (0.5, 1)
    assert torch.equal(half.active, whole.active)
    answering(monkeypatch, half, [0.5], [0.5] * 3)
    before = half.active.clone()
    half.run_epoch(2)
    assert int(half.active.sum()) > int(before.sum())


def test_two_classes_one_of_a_single_image() -> None:
    stage = fs_stage(counts=(20, 1), **OFTEN)
    for epoch in range(3):
        stage.run_epoch(epoch)
    assert bool(torch.isfinite(weights(stage.network)).all())


def test_it_learns() -> None:
    assert falls(fs_stage(warmup=8, optimisation={"optimiser": "adam", "lr": 3e-3}), epochs=8)


def test_no_validation_images_is_one_clear_error() -> None:
    with pytest.raises(SettingsError, match=r"fs .*validation.* has none"):
        stage_of(fs)


@pytest.mark.parametrize(
    "change", [{"dropout": 0.0}, {"passes": 1}, {"sampling": "balanced"}, {"patience": -1}]
)
def test_impossible_settings_are_refused_by_name(change: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=rf"stage1\.{next(iter(change))} = "):
        resolve(fs.Settings, {"stage1": change})
