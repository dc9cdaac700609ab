"""Splits by image or by group, and head / medium / tail."""

from __future__ import annotations

import math

import numpy as np

from lmd.data.manifest import SPLITS

FRACTIONS = (0.7, 0.1, 0.2)


def split_by_image(
    labels: np.ndarray, fractions: tuple[float, float, float] = FRACTIONS, seed: int = 42
) -> np.ndarray:
    """Returns the split of each image: stratified by class, each image by itself."""
    return split_by_group(labels, np.arange(len(labels)).astype(str), fractions, seed)


def split_by_group(
    labels: np.ndarray,
    groups: np.ndarray,
    fractions: tuple[float, float, float] = FRACTIONS,
    seed: int = 42,
) -> np.ndarray:
    """Returns the split of each image: whole groups (lesions, patients), stratified by class.

    Groups are taken rare classes first, large groups first, in a shuffled order beyond that; each goes to
    the split that most lacks images of its classes, measured against fractions x class count. A class with
    a single group goes to training; one with two also reaches the test split.
    """
    classes, label_index = np.unique(labels, return_inverse=True)
    _, group_index = np.unique(groups, return_inverse=True)
    table = np.zeros((group_index.max() + 1, len(classes)))
    np.add.at(table, (group_index, label_index), 1)
    target = table.sum(0)[None] * np.array(fractions)[:, None]
    filled = np.zeros_like(target)
    chosen = np.zeros(len(table), dtype=np.int64)
    for group in _sequence(table, seed):
        chosen[group] = _neediest(table[group], target, filled)
        filled[chosen[group]] += table[group]
    return np.array(SPLITS)[chosen[group_index]]


def _sequence(table: np.ndarray, seed: int) -> np.ndarray:
    """The groups by the rarest class in them, then by size, then at random."""
    rank = np.argsort(np.argsort(table.sum(0), kind="stable"), kind="stable")
    rarest = np.where(table > 0, rank[None], table.shape[1]).min(1)
    random = np.random.default_rng(seed).permutation(len(table))
    return np.lexsort((random, -table.sum(1), rarest))


def _neediest(group: np.ndarray, target: np.ndarray, filled: np.ndarray) -> int:
    """The split for a group; one that has nothing of a class yet comes first: training, test, validation."""
    present = group > 0
    for split in (0, 2, 1):
        empty = present & (filled[split] == 0) & (target[split] > 0)
        if empty.any():
            return split
    lack = (target - filled) / np.maximum(target, 1e-9)
    allowed = target.sum(1) > 0  # A split with the fraction 0 is never behind, even where others are full.
    return int(np.where(allowed, (lack * present).sum(1), -np.inf).argmax())


def head_medium_tail(classes: list[str], counts: np.ndarray) -> tuple[dict[str, list[str]], str]:
    """Returns the classes of head, medium and tail by training count, and the rule in words.

    The quarter of the classes with most images is the head, the three eighths with fewest are the tail,
    both rounded up; from three classes on, one is left for the middle. With 8 classes this is 2/3/3, with
    14 it is 4/4/6, the division that the paper's averages over 14 classes agree with.

    >>> groups, _ = head_medium_tail(list("abcdefgh"), np.array([9, 8, 7, 6, 5, 4, 3, 2]))
    >>> [len(names) for names in groups.values()]
    [2, 3, 3]
    """
    order = [classes[k] for k in np.argsort(-counts, kind="stable")]
    head = math.ceil(len(order) / 4)
    tail = min(math.ceil(len(order) * 3 / 8), len(order) - head - (len(order) > 2))
    groups = {
        "head": order[:head],
        "medium": order[head : len(order) - tail],
        "tail": order[len(order) - tail :],
    }
    rule = f"by training count: the first {head} of {len(order)} classes are head, the last {tail} are tail"
    return groups, rule
