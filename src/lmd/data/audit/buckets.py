"""Pairs of hashes that may be near, out of too many to compare each with each: those that share some bits.

A table draws a few of the bits. Hashes that are equal in all of them fall into one bucket, and only such
pairs are looked at. Several tables make it likely that a near pair meets in one of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

TABLES = 32
_SEED = 18
_MOST_OF_BUCKET = 64  # Of each side: pictures of one colour all fall into one bucket.


def close_in_buckets(
    hashes: np.ndarray, other: np.ndarray, most_bits: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields pairs first < second of packed hashes [N, B / 8] that differ in few bits, and in how many.

    The first of a pair is of `hashes`, the second of `other`. Pairs may come several times, and some not.
    """
    random = np.random.default_rng(_SEED)
    width = max(8, int(np.ceil(np.log2(max(2, len(hashes))))))
    for _ in range(TABLES):
        chosen = random.choice(8 * hashes.shape[1], width, replace=False)
        first, second = _meeting(_keys(hashes, chosen), _keys(other, chosen))
        bits = _differing(hashes[first], other[second])
        near = (bits <= most_bits) & (first < second)
        if near.any():
            yield first[near], second[near], bits[near]


def _keys(hashes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The chosen bits of each hash as one number."""
    keys = np.zeros(len(hashes), dtype=np.int64)
    for bit in chosen:
        keys = 2 * keys + (hashes[:, bit // 8] >> (7 - bit % 8) & 1)
    return keys


def _meeting(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of each pair of equal keys; of a bucket that is too full the first ones alone."""
    mine, theirs = np.argsort(one, kind="stable"), np.argsort(other, kind="stable")
    begin = np.searchsorted(other[theirs], one[mine], "left")
    end = np.searchsorted(other[theirs], one[mine], "right")
    count = np.minimum(end - begin, _MOST_OF_BUCKET)
    place = np.arange(len(mine)) - np.searchsorted(one[mine], one[mine], "left")
    count[place >= _MOST_OF_BUCKET] = 0
    starts = np.repeat(np.cumsum(count) - count, count)
    inside = np.arange(count.sum()) - starts
    return np.repeat(mine, count), theirs[np.repeat(begin, count) + inside]


def _differing(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """In how many bits packed hashes [P, B / 8] differ."""
    return np.bitwise_count(a ^ b).sum(axis=1, dtype=np.int64)
