"""Orders: permutations, shards, balance, and dependence on seed and epoch alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from lmd.data.random import uniforms
from lmd.data.sampling import balanced_order, instance_order

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
