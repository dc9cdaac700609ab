"""Splits: stratified, whole groups, every class trained on; and the rule of head, medium and tail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.longtail import (
    counts_as_paper,
    folds_by_group,
    head_medium_tail,
    kept_counts,
    split_as_paper,
    split_by_group,
    split_by_image,
    split_stratified,
    subsample,
)
from lmd.errors import DataError


def share(labels: np.ndarray, splits: np.ndarray, label: str, split: str) -> float:
    return float((splits[labels == label] == split).mean())


def test_an_image_split_is_stratified() -> None:
    labels = np.repeat(["a", "b", "c"], [1000, 200, 20])
    splits = split_by_image(labels, seed=1)
    for label, count in (("a", 1000), ("b", 200), ("c", 20)):
        for split, fraction in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
            assert abs(share(labels, splits, label, split) - fraction) <= 1.5 / count


def test_groups_stay_whole_and_classes_keep_their_shares() -> None:
    random = np.random.default_rng(0)
    groups = random.integers(0, 900, 2000).astype(str)
    by_group = {group: random.choice(["a", "b", "c"], p=[0.8, 0.15, 0.05]) for group in np.unique(groups)}
    labels = np.array([by_group[group] for group in groups])
    splits = split_by_group(labels, groups, seed=1)
    assert all(len(set(splits[groups == group])) == 1 for group in np.unique(groups))
    for label in "abc":
        assert abs(share(labels, splits, label, "train") - 0.7) < 0.05
        assert abs(share(labels, splits, label, "test") - 0.2) < 0.05


def test_a_split_is_a_function_of_its_seed() -> None:
    labels = np.repeat(["a", "b"], [60, 30])
    assert np.array_equal(split_by_image(labels, seed=1), split_by_image(labels, seed=1))
    assert not np.array_equal(split_by_image(labels, seed=1), split_by_image(labels, seed=2))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), min_size=3, max_size=60),
    st.integers(0, 99),
)
def test_every_class_is_trained_on_whatever_the_data(pairs: list[tuple[str, int]], seed: int) -> None:
    labels = np.array([label for label, _ in pairs])
    groups = np.array([f"{label}{group}" for label, group in pairs])
    splits = split_by_group(labels, groups, seed=seed)
    for label in np.unique(labels):
        here = set(splits[labels == label])
        assert "train" in here
        if len(np.unique(groups[labels == label])) >= 3:
            assert here == {"train", "val", "test"}


def test_a_group_of_several_labels_stays_whole() -> None:
    labels = np.array(["a", "b", "a", "a", "b", "b", "a", "b"])
    groups = np.array(["g", "g", "h", "i", "j", "k", "l", "m"])
    splits = split_by_group(labels, groups)
    assert splits[0] == splits[1]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=3, max_size=60))
def test_groups_of_several_labels_stay_whole_and_nothing_goes_to_a_split_of_no_size(
    pairs: list[tuple[str, int]],
) -> None:
    labels = np.array([label for label, _ in pairs])
    groups = np.array([f"g{group}" for _, group in pairs])
    splits = split_by_group(labels, groups, (0.8, 0.0, 0.2))
    assert all(len(set(splits[groups == group])) == 1 for group in groups)
    assert "val" not in splits
    assert all("train" in splits[labels == label] for label in labels)


@pytest.mark.parametrize(
    ("classes", "sizes"), [(2, [1, 0, 1]), (3, [1, 1, 1]), (8, [2, 3, 3]), (4, [1, 1, 2]), (14, [4, 4, 6])]
)
def test_group_sizes_and_order(classes: int, sizes: list[int]) -> None:
    names = [f"class{k}" for k in range(classes)]
    counts = np.arange(classes) * 10 + 1  # The last class is the largest.
    groups, rule = head_medium_tail(names, counts)
    assert [len(groups[name]) for name in ("head", "medium", "tail")] == sizes
    assert groups["head"][0] == names[-1]
    assert groups["tail"][-1] == names[0]
    assert str(classes) in rule


@settings(max_examples=60)
@given(st.lists(st.integers(1, 5000), min_size=2, max_size=14), st.floats(1, 600))
def test_kept_counts_fall_and_have_the_imbalance(sizes: list[int], imbalance: float) -> None:
    counts = sorted(sizes, reverse=True)
    kept = kept_counts(counts, imbalance)
    assert all(1 <= new <= old for new, old in zip(kept, counts, strict=True))
    if imbalance >= counts[0] / counts[-1]:
        assert kept[0] == counts[0]
        assert kept == sorted(kept, reverse=True)
        assert kept[-1] - 1 <= counts[0] / imbalance <= kept[-1] + 1e-6
    else:
        assert kept[-1] == min(kept) == counts[-1]
        assert kept[0] == max(kept)
        assert kept[0] / kept[-1] == pytest.approx(imbalance, abs=1 / counts[-1])


def test_a_subsample_is_drawn_anew_by_each_seed_without_repeats() -> None:
    labels = np.repeat(["c", "a", "b"], [40, 300, 100])
    kept = subsample(labels, 30, seed=1)
    assert [len(rows) for rows in kept.values()] == kept_counts([300, 100, 40], 30)
    assert list(kept) == ["a", "b", "c"]
    for name, rows in kept.items():
        assert set(labels[rows]) == {name}
        assert len(set(rows)) == len(rows)
    assert set(subsample(labels, 30, seed=2)["b"]) != set(kept["b"])


@settings(max_examples=40)
@given(st.integers(4, 400), st.integers(4, 60), st.integers(0, 9))
def test_the_papers_split_has_the_counts_that_are_told_of_it(many: int, few: int, seed: int) -> None:
    kept = {"a": np.arange(many), "b": np.arange(many, many + few)}
    splits = split_as_paper(kept, many + few + 5, seed)
    assert (splits[many + few :] == "").all()
    for rows in kept.values():
        told = counts_as_paper(len(rows))
        assert {name: int((splits[rows] == name).sum()) for name in told} == told
        assert min(told.values()) >= 1


def test_the_papers_split_needs_four_images() -> None:
    with pytest.raises(DataError, match="class 'b' keeps 3 images"):
        split_as_paper({"a": np.arange(9), "b": np.arange(9, 12)}, 12)


def test_a_stratified_split_keeps_to_the_fractions_of_the_whole() -> None:
    """Where each class is rounded by itself, ten classes of 14 give 10 and not 14 of 140 to the test."""
    labels = np.repeat([f"class{k}" for k in range(10)], 14)
    splits = split_stratified(labels, (0.8, 0.1, 0.1), seed=3)
    assert [(splits == name).sum() for name in ("train", "val", "test")] == [112, 14, 14]
    assert all(1 <= ((splits == "test") & (labels == name)).sum() <= 2 for name in np.unique(labels))
    only = split_stratified(labels, (0.5, 0.5, 0.0), seed=3)
    assert [(only == name).sum() for name in ("train", "val", "test")] == [70, 70, 0]
    with pytest.raises(DataError, match="cannot be divided by class"):
        split_stratified(np.array(["a"] * 9 + ["b"]), (0.8, 0.1, 0.1))


@settings(max_examples=40)
@given(st.integers(2, 6), st.integers(0, 50))
def test_folds_share_every_class_among_them(folds: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    groups = np.sort(random.integers(0, 60, 200)).astype(str)
    kinds = {group: random.choice(["a", "b", "c"], p=[0.7, 0.2, 0.1]) for group in np.unique(groups)}
    labels = np.array([kinds[group] for group in groups])
    chosen = folds_by_group(labels, groups, folds, seed)
    assert set(chosen) == set(range(folds))
    assert all(len(set(chosen[groups == group])) == 1 for group in np.unique(groups))
    largest = max((groups == group).sum() for group in np.unique(groups))
    for label in np.unique(labels):
        shares = [((chosen == fold) & (labels == label)).sum() for fold in range(folds)]
        assert max(shares) - min(shares) <= largest


def test_rare_classes_are_spread_over_the_folds() -> None:
    """Ten classes of two images each in five folds: not all in the first two."""
    labels = np.repeat([f"class{k}" for k in range(10)], 2)
    chosen = folds_by_group(labels, np.arange(20).astype(str), 5)
    assert np.bincount(chosen, minlength=5).tolist() == [4] * 5


@pytest.mark.parametrize("fractions", [(0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.5, 0.5)])
def test_a_stratified_split_may_leave_nothing_to_a_split(fractions: tuple[float, float, float]) -> None:
    splits = split_stratified(np.repeat(["a", "b"], 11), fractions)
    assert [(splits == name).mean() for name in SPLITS] == pytest.approx(fractions)
