"""Equation 6, against loops and numpy, however the images are cut into batches and processes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmd.losses.gaussian import (
    ClassGaussians,
    ClassMoments,
    class_statistics,
    combine,
    dense,
    merge_statistics,
    smooth,
)


def sample(counts: list[int], channels: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.full((count,), k) for k, count in enumerate(counts)])
    scale = torch.linspace(0.5, 2.0, channels).double()
    features = torch.randn(len(labels), channels, dtype=torch.float64, generator=generator) * scale
    return features + labels[:, None], labels


def same(found: ClassGaussians, expected: ClassGaussians) -> None:
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.covariance, expected.covariance)
    torch.testing.assert_close(found.counts, expected.counts)


def slow_statistics(rows: list[list[float]]) -> tuple[list[float], list[list[float]]]:
    """Mean and covariance with n - 1, written as eq. 6 is."""
    n, c = len(rows), len(rows[0])
    mean = [sum(row[a] for row in rows) / n for a in range(c)]
    covariance = [
        [sum((row[a] - mean[a]) * (row[b] - mean[b]) for row in rows) / (n - 1) for b in range(c)]
        for a in range(c)
    ]
    return mean, covariance


def test_equation_6() -> None:
    features, labels = sample([7, 12, 3])
    found = class_statistics(features, labels, 3)
    for k in range(3):
        rows = features[labels == k]
        mean, covariance = slow_statistics(rows.tolist())
        np.testing.assert_allclose(found.mean[k], mean, rtol=1e-12)
        np.testing.assert_allclose(found.covariance[k], covariance, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(found.covariance[k], np.cov(rows.numpy().T), rtol=1e-10, atol=1e-14)
    assert found.counts.tolist() == [7, 12, 3]


def test_weights_count_a_row_as_often_as_it_was_drawn() -> None:
    features, labels = sample([5, 4])
    weights = torch.tensor([1, 3, 2, 1, 1, 4, 1, 1, 2])
    found = class_statistics(features, labels, 2, weights)
    expected = class_statistics(features.repeat_interleave(weights, 0), labels.repeat_interleave(weights), 2)
    same(found, expected)


def test_one_image_and_no_image() -> None:
    features, labels = sample([1, 4])
    found = class_statistics(features, labels, 3)
    assert torch.equal(found.mean[0], features[0])
    assert not found.covariance[0].any()
    assert not found.covariance[2].any()
    assert found.counts.tolist() == [1, 4, 0]
    assert all(bool(torch.isfinite(value).all()) for value in found.as_dict().values())


def test_half_precision_features_are_added_up_in_double() -> None:
    features = (torch.randn(5000, 2, generator=torch.Generator().manual_seed(0)) + 200).bfloat16()
    found = class_statistics(features, torch.zeros(5000, dtype=torch.int64), 1)
    np.testing.assert_allclose(found.covariance[0], np.cov(features.double().numpy().T), rtol=1e-9)


def test_a_small_class_keeps_the_root_of_its_covariance() -> None:
    features, labels = sample([3, 40], channels=8)
    found = class_statistics(features, labels, 2)
    assert [tuple(spread.shape) for spread in found.spread] == [(3, 8), (8, 8)]


@given(st.integers(1, 9), st.integers(0, 10**6))
def test_batches_of_any_size_give_the_statistics_of_the_whole(size: int, seed: int) -> None:
    """Classes of fewer and of more images than channels; means far from 0, where naive sums lose digits."""
    features, labels = sample([2, 4, 9, 30], channels=4, seed=seed)
    features = features + 1e4
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    weights = torch.randint(1, 5, (len(labels),), generator=torch.Generator().manual_seed(seed))
    moments = ClassMoments(4, 4)
    for rows in order.split(size):
        moments.add(features[rows], labels[rows], weights[rows])
    found = moments.gaussians()
    for k in range(4):
        rows = features[labels == k].repeat_interleave(weights[labels == k], 0)
        np.testing.assert_allclose(found.mean[k], rows.mean(0), rtol=1e-12)
        np.testing.assert_allclose(found.matrix(k), np.cov(rows.numpy().T), rtol=1e-8, atol=1e-9)
        assert int(found.counts[k]) == len(rows)


def test_what_is_held_does_not_grow_with_the_number_of_images() -> None:
    moments = ClassMoments(2, 4)
    held = []
    for seed in range(30):
        moments.add(*sample([8, 8], seed=seed))
        held.append(sum(len(rows) for waiting in moments.waiting for rows, _ in waiting))
    assert max(held) < 2 * 4


@pytest.mark.parametrize("cuts", [[0.5], [0.1, 0.2], [0.0, 0.9]])
def test_shares_merge_to_the_whole(cuts: list[float]) -> None:
    """A share may lack a class, or hold a single image of it."""
    features, labels = sample([1, 3, 50], channels=6)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    ends = [0, *(round(cut * len(labels)) for cut in cuts), len(labels)]
    shares = [order[a:b] for a, b in pairwise(ends)]
    parts = [class_statistics(features[rows], labels[rows], 3) for rows in shares]
    same(merge_statistics(parts), class_statistics(features, labels, 3))


def test_covariances_are_combined_as_roots_or_as_matrices() -> None:
    random = torch.Generator().manual_seed(0)
    root, other, matrix = (torch.randn(n, 5, generator=random).double() for n in (2, 2, 5))
    matrix = matrix @ matrix.T
    for spreads in ([root, other], [root, matrix], [matrix, matrix], [root, other, root]):
        weights = [0.3, 0.7, 2.0][: len(spreads)]
        expected = sum(w * dense(spread) for w, spread in zip(weights, spreads, strict=True))
        torch.testing.assert_close(dense(combine(weights, spreads)), expected)
    assert combine([1.0, 1.0], [root, other]).shape == (4, 5)
    assert combine([1.0, 0.0], [root, matrix]).shape == (2, 5)
    assert combine([1.0, 1.0, 1.0], [root, other, root]).shape == (5, 5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    features, labels = sample([5, 6])
    features[3, 1] = bad
    with pytest.raises(ValueError, match=r"1 of 11 images are not finite"):
        class_statistics(features, labels, 2)


def test_smoothing_is_a_running_mean_and_then_an_average() -> None:
    parts = [class_statistics(*sample([6, 6], seed=seed), 2) for seed in range(4)]
    state = None
    for iteration, part in enumerate(parts):
        state = smooth(state, part, iteration, decay=0.999)
    assert state is not None
    torch.testing.assert_close(state.mean, torch.stack([part.mean for part in parts]).mean(0))
    torch.testing.assert_close(state.covariance, torch.stack([part.covariance for part in parts]).mean(0))
    late = smooth(state, parts[0], 50, decay=0.9)
    torch.testing.assert_close(late.mean, 0.9 * state.mean + 0.1 * parts[0].mean)


def test_smoothing_stacks_the_roots_of_small_classes_until_they_are_matrices() -> None:
    state, expected = None, torch.zeros(8, 8, dtype=torch.float64)
    for iteration in range(4):
        part = class_statistics(*sample([3, 20], channels=8, seed=iteration), 2)
        state = smooth(state, part, iteration, decay=0.999)
        expected += part.matrix(0) / 4
    assert state is not None
    torch.testing.assert_close(state.matrix(0), expected)
    assert state.spread[0].shape == (8, 8)
    forgetful = smooth(state, part, 4, decay=0.0)
    assert forgetful.spread[0].shape == (3, 8)


def test_an_absent_class_keeps_what_was_known() -> None:
    before = class_statistics(*sample([6, 6]), 2)
    features, labels = sample([6, 6], seed=1)
    now = class_statistics(features[labels == 0], labels[labels == 0], 2)
    after = smooth(before, now, 3, 0.5)
    assert torch.equal(after.mean[1], before.mean[1])
    torch.testing.assert_close(after.matrix(1), before.matrix(1))
    assert after.counts.tolist() == [6, 6]


def test_a_class_that_was_absent_takes_what_is_known_now() -> None:
    """Nothing of the zeros that stood for it is averaged in."""
    first = class_statistics(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 0]), 2)
    second = class_statistics(torch.tensor([[1.0], [5.0], [9.0]]), torch.tensor([0, 1, 1]), 2)
    found = smooth(first, second, 1, 0.9)
    assert found.mean.flatten().tolist() == [1.5, 7.0]
    assert found.covariance[1].item() == 8.0
    assert found.counts.tolist() == [1, 2]


def test_gaussians_survive_a_round_trip() -> None:
    target = class_statistics(*sample([5, 3]), 2)
    back = ClassGaussians.from_dict(target.as_dict())
    assert [len(spread) for spread in back.spread] == [4, 3]
    same(back, target)
    single = back.to(torch.float32)
    assert single.mean.dtype == single.spread[1].dtype == torch.float32
    assert single.counts.dtype == torch.int64
