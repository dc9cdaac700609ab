"""Long-tailed subsampling, splits by image or by group, folds, and head / medium / tail."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pandas as pd

from lmd.data.dataset.checks import SPLITS
from lmd.errors import DataError
from lmd.text import numbered

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
    chosen = _deal(labels, groups, np.array(fractions), seed, (0, 2, 1))
    return np.array(SPLITS)[chosen]


def folds_by_group(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int = 42) -> np.ndarray:
    """Returns the fold of each image, 0 to folds - 1: whole groups, stratified by class.

    A class of fewer groups than folds is absent from some; the smallest folds get it.
    """
    return _deal(labels, groups, np.full(folds, 1 / folds), seed, ())


def _deal(
    labels: np.ndarray, groups: np.ndarray, fractions: np.ndarray, seed: int, first: tuple[int, ...]
) -> np.ndarray:
    """The pile of each image, where pile p is to get `fractions[p]` of each class; whole groups."""
    classes, label_index = np.unique(labels, return_inverse=True)
    _, group_index = np.unique(groups, return_inverse=True)
    table = np.zeros((group_index.max() + 1, len(classes)))
    np.add.at(table, (group_index, label_index), 1)
    target = table.sum(0)[None] * fractions[:, None]
    filled = np.zeros_like(target)
    chosen = np.zeros(len(table), dtype=np.int64)
    for group in _sequence(table, seed):
        chosen[group] = _neediest(table[group], target, filled, first)
        filled[chosen[group]] += table[group]
    return chosen[group_index]


def _sequence(table: np.ndarray, seed: int) -> np.ndarray:
    """The groups by the rarest class in them, then by size, then at random."""
    rank = np.argsort(np.argsort(table.sum(0), kind="stable"), kind="stable")
    rarest = np.where(table > 0, rank[None], table.shape[1]).min(1)
    random = np.random.default_rng(seed).permutation(len(table))
    return np.lexsort((random, -table.sum(1), rarest))


def _neediest(group: np.ndarray, target: np.ndarray, filled: np.ndarray, first: tuple[int, ...]) -> int:
    """The pile for a group; one of `first` that has nothing of a class yet comes first, in that order."""
    present = group > 0
    for pile in first:
        empty = present & (filled[pile] == 0) & (target[pile] > 0)
        if empty.any():
            return pile
    lack = (target - filled) / np.maximum(target, 1e-9)
    allowed = target.sum(1) > 0  # A pile with the fraction 0 gets nothing, even where all others are full.
    need = np.where(allowed, (lack * present).sum(1), -np.inf)
    # Of folds in equal need the smallest: else the first folds would get all the rare classes.
    return int(need.argmax() if first else np.lexsort((filled.sum(1), -need.round(9)))[0])


def subsample(labels: np.ndarray, imbalance: float, seed: int = 42) -> dict[str, np.ndarray]:
    """Returns the rows to keep of each class, largest class first; the largest has r times the smallest.

    Paper, 4.1: class i of K keeps ceil(n_i mu^i) images with mu = (n_0 / (n_(K-1) r))^(1 / (K-1)), drawn at
    random. The printed formula is garbled; this one gives the published tables. An r below the imbalance of
    the data would make mu larger than 1: `kept_counts` says what is done then.
    """
    counts = Counter(labels.tolist()).most_common()
    keep = kept_counts([count for _, count in counts], imbalance)
    rows = pd.Series(np.arange(len(labels)))
    drawn = {
        name: rows[labels == name].sample(number, random_state=seed).to_numpy()
        for (name, _), number in zip(counts, keep, strict=True)
    }
    return {str(name): kept for name, kept in drawn.items()}


def kept_counts(counts: list[int], imbalance: float) -> list[int]:
    """Returns how many images each class keeps; `counts` fall.

    Where r is below n_0 / n_(K-1), the smallest class keeps all its images and the largest r times as many;
    class i keeps ceil(n_i mu^-(K-1-i)), between the two. This case is ours: the paper thins the tail only.

    >>> kept_counts([1000, 100, 40], imbalance=100)
    [1000, 50, 10]
    >>> kept_counts([1000, 100, 40], imbalance=1)
    [40, 40, 40]
    """
    largest, smallest = counts[0], counts[-1]
    last = len(counts) - 1
    ratio = (largest / (smallest * imbalance)) ** (1 / last)
    if ratio <= 1:
        return [math.ceil(count * ratio**i) for i, count in enumerate(counts)]
    top = math.ceil(smallest * imbalance)
    tilted = [math.ceil(count * ratio ** (i - last)) for i, count in enumerate(counts)]
    return [min(max(kept, smallest), count, top) for kept, count in zip(tilted, counts, strict=True)]


def split_as_paper(kept: dict[str, np.ndarray], num_rows: int, seed: int = 42) -> np.ndarray:
    """Returns the split of each row, "" for those not kept: per class 70/30, then a third of the 30 for val.

    Raises:
        DataError: a class has too few images for three splits.
    """
    from sklearn.model_selection import train_test_split  # Here, because it takes a second to import.

    splits = np.full(num_rows, "", dtype="<U5")
    for name, rows in kept.items():
        if len(rows) < 4:
            raise DataError(
                f"class '{name}' keeps {numbered(len(rows), 'image')}, too few for the paper's three "
                "splits (4 is the "
                "least); choose a smaller --imbalance, or --split lesion"
            )
        train, rest = train_test_split(rows, test_size=0.3, random_state=seed)
        test, val = train_test_split(rest, test_size=1 / 3, random_state=seed)
        for split, part in zip(SPLITS, (train, val, test), strict=True):
            splits[part] = split
    return splits


def counts_as_paper(num_kept: int) -> dict[str, int]:
    """Returns how many of a class's images `split_as_paper` gives each split.

    >>> counts_as_paper(129)
    {'train': 90, 'val': 13, 'test': 26}
    """
    rest = math.ceil(num_kept * 0.3)
    val = math.ceil(rest * (1 / 3))
    return dict(zip(SPLITS, (num_kept - rest, val, rest - val), strict=True))


def split_stratified(labels: np.ndarray, fractions: tuple[float, float, float], seed: int = 42) -> np.ndarray:
    """Returns the split of each row: scikit-learn's stratified draw of the test, then of val from the rest.

    Unlike `split_by_image` it keeps to the fractions of the whole where rounding each class would not; the
    authors' tables of Hyper-Kvasir are this with 8:1:1 and seed 42.

    Raises:
        DataError: a class has too few images to be in three splits.
    """
    from sklearn.model_selection import train_test_split  # Here, because it takes a second to import.

    splits = np.full(len(labels), SPLITS[0], dtype="<U5")
    rest = np.arange(len(labels))
    for split, fraction in ((SPLITS[2], fractions[2]), (SPLITS[1], fractions[1])):
        number = math.ceil(round(fraction * len(labels), 6))
        if number >= len(rest):  # Nothing is left to draw from.
            splits[rest] = split
            return splits
        if number:
            try:
                rest, drawn = train_test_split(
                    rest, test_size=number, stratify=labels[rest], random_state=seed
                )
            except ValueError as error:
                raise DataError(f"these images cannot be divided by class into three: {error}") from error
            splits[drawn] = split
    return splits


def bands_by_count(
    classes: list[str], counts: np.ndarray, head: int = 500, tail: int = 100
) -> tuple[dict[str, list[str]], str]:
    """Returns the head, medium and tail classes by fixed training counts, and the rule in words.

    >>> bands_by_count(["a", "b", "c"], np.array([99, 500, 499]))[0]
    {'head': ['b'], 'medium': ['c'], 'tail': ['a']}
    """
    order = np.argsort(-counts, kind="stable")
    bands = {
        "head": [classes[k] for k in order if counts[k] >= head],
        "medium": [classes[k] for k in order if tail <= counts[k] < head],
        "tail": [classes[k] for k in order if counts[k] < tail],
    }
    return bands, f"by training count: head {head} or more, medium {tail} to {head - 1}, tail below {tail}"


def head_medium_tail(classes: list[str], counts: np.ndarray) -> tuple[dict[str, list[str]], str]:
    """Returns the head, medium and tail classes by training count, and the rule in words.

    The quarter of the classes with most images is the head, the three eighths with fewest are the tail,
    both rounded up; from three classes on, one is left for the middle. With 8 classes this is 2/3/3, with
    14 it is 4/4/6, the division that the paper's averages over 14 classes agree with.

    >>> bands, _ = head_medium_tail(list("abcdefgh"), np.array([9, 8, 7, 6, 5, 4, 3, 2]))
    >>> [len(names) for names in bands.values()]
    [2, 3, 3]
    """
    order = [classes[k] for k in np.argsort(-counts, kind="stable")]
    head = math.ceil(len(order) / 4)
    tail = min(math.ceil(len(order) * 3 / 8), len(order) - head - (len(order) > 2))
    bands = {
        "head": order[:head],
        "medium": order[head : len(order) - tail],
        "tail": order[len(order) - tail :],
    }
    rule = f"by training count: the first {head} of {len(order)} classes are head, the last {tail} are tail"
    return bands, rule
