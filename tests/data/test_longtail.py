"""Splits: stratified, whole groups, every class trained on; and the rule of head, medium and tail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmd.data.longtail import head_medium_tail, split_by_group, split_by_image


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
