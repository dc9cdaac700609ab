"""Orders: permutations, shards, balance, and dependence on seed and epoch alone."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from lmd.data.feed.draws import uniforms, uniforms_of, uniforms_on
from lmd.data.feed.sampling import (
    Sampling,
    balanced_order,
    class_shares,
    effective_weights,
    instance_order,
    sampling_order,
)

LABELS = np.repeat([0, 1, 3], [900, 90, 10])


@given(st.integers(1, 200), st.integers(1, 5), st.integers(0, 9))
def test_shards_make_up_the_global_order(count: int, world: int, epoch: int) -> None:
    whole = instance_order(count, 42, epoch)
    assert sorted(whole) == list(range(count))
    shards = [instance_order(count, 42, epoch, rank, world) for rank in range(world)]
    assert len({len(shard) for shard in shards}) == 1
    woven = np.stack(shards, 1).reshape(-1)
    assert np.array_equal(woven[:count], whole)
    assert set(woven[count:]) <= set(whole)


def test_orders_depend_on_seed_and_epoch() -> None:
    first = instance_order(50, 1, 0)
    assert np.array_equal(first, instance_order(50, 1, 0))
    assert not np.array_equal(first, instance_order(50, 1, 1))
    assert not np.array_equal(first, instance_order(50, 2, 0))
    drawn = balanced_order(LABELS, 1, 0)
    assert np.array_equal(drawn, balanced_order(LABELS, 1, 0))
    assert not np.array_equal(drawn, balanced_order(LABELS, 1, 1))


def test_balanced_draws_give_each_class_its_share() -> None:
    draws = 60_000
    rows = balanced_order(LABELS, 3, 0, num_draws=draws)
    shares = np.bincount(LABELS[rows], minlength=4) / draws
    tolerance = 5 * np.sqrt((1 / 3) * (2 / 3) / draws)
    assert shares[2] == 0  # A class that is absent is never drawn.
    np.testing.assert_allclose(shares[[0, 1, 3]], 1 / 3, atol=tolerance)
    tail = np.bincount(rows, minlength=len(LABELS))[990:]
    np.testing.assert_allclose(tail / tail.sum(), 0.1, atol=5 * np.sqrt(0.09 / tail.sum()))


def test_as_many_balanced_draws_as_images_unless_told() -> None:
    assert len(balanced_order(LABELS, 0, 0)) == 1000
    assert len(balanced_order(LABELS, 0, 0, rank=1, world=3)) == 334


def test_hashed_numbers_are_uniform_and_independent() -> None:
    numbers = uniforms(np.arange(20_000), 6, 42, 0, "strong")
    for column in range(6):
        assert kstest(numbers[:, column], "uniform").pvalue > 1e-4
    correlation = np.corrcoef(np.vstack([numbers.T, uniforms(np.arange(20_000), 6, 42, 1, "strong").T]))
    assert np.abs(correlation - np.eye(12)).max() < 5 / np.sqrt(20_000)
    assert np.abs(np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]) < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("keys", [(42, 1, "strong"), (43, 0, "strong"), (42, 0, "weak")])
def test_hashed_numbers_change_with_every_key(keys: tuple[int, int, str]) -> None:
    assert not np.array_equal(uniforms(np.arange(5), 3, 42, 0, "strong"), uniforms(np.arange(5), 3, *keys))


def test_an_image_has_the_same_numbers_in_any_company() -> None:
    alone, together = uniforms(np.array([17]), 4, 1, 2), uniforms(np.array([3, 17, 90]), 4, 1, 2)
    assert np.array_equal(alone[0], together[1])


# The rules of sampling.

RULES: tuple[Sampling, ...] = get_args(Sampling)
COUNTS = np.array([900, 90, 10])
DRAWN = [rule for rule in RULES if rule not in ("instance", "class_aware")]


def drawn_shares(rule: Sampling, progress: float = 0.0, epochs: int = 60) -> np.ndarray:
    """How often each class came, over many epochs."""
    rows = np.concatenate(
        [sampling_order(rule, LABELS, 3, epoch, progress=progress) for epoch in range(epochs)]
    )
    return np.bincount(LABELS[rows], minlength=4)[[0, 1, 3]] / len(rows)


@pytest.mark.parametrize("rule", DRAWN)
@pytest.mark.parametrize("progress", [0.0, 0.4, 1.0])
def test_classes_come_as_often_as_their_shares_say(rule: Sampling, progress: float) -> None:
    shares = class_shares(rule, COUNTS, progress)
    assert shares.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(drawn_shares(rule, progress), shares, atol=5 * np.sqrt(0.25 / 60_000))


def test_shares_by_hand() -> None:
    np.testing.assert_allclose(class_shares("instance", COUNTS), [0.9, 0.09, 0.01])
    np.testing.assert_allclose(class_shares("balanced", COUNTS), [1 / 3] * 3)
    roots = np.array([30.0, 90**0.5, 10**0.5])
    np.testing.assert_allclose(class_shares("square_root", COUNTS), roots / roots.sum())
    # Cao et al.: each image weighs (1 - b) / (1 - b^n), so that a class weighs n times that.
    images = np.array([(1 - 0.9999) / (1 - 0.9999**count) for count in (900, 90, 10)])
    expected = COUNTS * images / (COUNTS * images).sum()
    np.testing.assert_allclose(class_shares("effective_number", COUNTS), expected)


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_progressive_sampling_goes_from_the_images_to_the_classes(progress: float) -> None:
    expected = (1 - progress) * COUNTS / 1000 + progress / 3
    np.testing.assert_allclose(class_shares("progressive", COUNTS, progress), expected)


def test_effective_weights_have_their_two_limits() -> None:
    np.testing.assert_allclose(effective_weights(COUNTS, 1e-9), [1.0, 1.0, 1.0])
    inverse = 1 / COUNTS
    np.testing.assert_allclose(effective_weights(COUNTS, 1 - 1e-12), inverse * 3 / inverse.sum(), rtol=1e-3)
    assert np.isfinite(effective_weights(np.array([0, 5]))).all()


def test_the_weights_of_many_images_keep_their_digits() -> None:
    """1 - b^n by way of expm1: naively, a single image at b = 1 - 1e-12 loses four digits."""
    weights = effective_weights(np.array([1, 2]), 1 - 1e-12)
    assert weights[0] / weights[1] == pytest.approx(2.0, rel=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_depends_on_seed_and_epoch_alone(rule: Sampling) -> None:
    first = sampling_order(rule, LABELS, 1, 0)
    assert len(first) == len(LABELS)
    assert np.array_equal(first, sampling_order(rule, LABELS, 1, 0))
    assert not np.array_equal(first, sampling_order(rule, LABELS, 1, 1))
    assert not np.array_equal(first, sampling_order(rule, LABELS, 2, 0))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("world", [2, 3])
def test_the_shards_of_every_rule_make_up_the_order_of_one_process(rule: Sampling, world: int) -> None:
    whole = sampling_order(rule, LABELS, 1, 4, progress=0.5)
    shards = [sampling_order(rule, LABELS, 1, 4, rank, world, 0.5) for rank in range(world)]
    assert len({len(shard) for shard in shards}) == 1
    assert np.array_equal(np.stack(shards, 1).reshape(-1)[: len(whole)], whole)


@given(st.lists(st.integers(1, 12), min_size=2, max_size=5), st.integers(0, 20))
def test_class_aware_sampling_takes_classes_in_turn_and_images_in_turn(counts: list[int], epoch: int) -> None:
    """Each round has each class once, and no image of a class comes twice before all of it have come."""
    labels = np.repeat(np.arange(len(counts)), counts)
    order = sampling_order("class_aware", labels, 5, epoch)
    rounds = len(order) // len(counts)
    for turn in np.split(labels[order[: rounds * len(counts)]], rounds):
        assert sorted(turn) == list(range(len(counts)))
    for label, count in enumerate(counts):
        rows = order[labels[order] == label]
        for start in range(0, len(rows), count):
            assert len(set(rows[start : start + count])) == len(rows[start : start + count])


def test_class_aware_sampling_has_no_fixed_order_of_classes() -> None:
    first = LABELS[sampling_order("class_aware", LABELS, 5, 0)[0::3]]
    assert set(first[:100]) == {0, 1, 3}


@pytest.mark.parametrize("rule", RULES)
def test_a_class_that_is_absent_is_never_drawn(rule: Sampling) -> None:
    rows = sampling_order(rule, LABELS, 0, 0)
    assert set(LABELS[rows]) <= {0, 1, 3}
    assert rows.dtype == np.int64


@pytest.mark.parametrize("seed", [0, 5, 2**63 - 1])
def test_the_numbers_that_a_gpu_draws_are_the_same(seed: int) -> None:
    index = np.array([0, 1, 17, 2**31, 2**40])
    expected = uniforms_of(index, 37, seed).astype(np.float32)
    found = uniforms_on(torch.from_numpy(index), 37, torch.tensor(seed))
    assert np.array_equal(found.numpy(), expected)
