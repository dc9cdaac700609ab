"""Copies of an image: the same bytes, or nearly the same picture.

Two pictures count as near duplicates when their perceptual hashes (the signs of the 256 lowest frequencies,
library imagehash) differ in few bits and their small grey pixels correlate. The limits were chosen on the
10,015 HAM10000 images, where the lesion tells what belongs together: docs/inspect.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lmd.data.audit.buckets import close_in_buckets
from lmd.data.audit.looks import BITS, NUM_TURNS, turned

NEAR_BITS = 36  # Of 256 may differ. Pictures that have nothing in common differ in 128.
TURNED_BITS = 24  # Of turned and mirrored copies fewer: they are exact, and eight positions are tried.
LEAST_AGREEMENT = 0.7  # Least correlation of the pixels: the hash of an even picture is noise.
_FLAT = 2.0  # A picture whose grey levels deviate by less is even: it has nothing to correlate.
_MOST_PAIRS = 100_000  # The search stops here: in a folder of blank pictures every pair is near.
_BLOCK = 2**23  # Products in memory at once.
MOST_COMPARED = 30_000  # Pictures of which each is compared with each: 4 billion products a position.


@dataclass(frozen=True, order=True)
class Pair:
    """Two rows whose pictures are nearly the same; `turn` is how the second has to be turned to fit."""

    bits: int
    first: int
    second: int
    turn: int
    agreement: float


_WORST = Pair(BITS + 1, 0, 0, 0, 0.0)


def identical_rows(records: np.ndarray) -> list[list[int]]:
    """Returns the rows of each set of byte-identical images; rows without a file are in none."""
    found: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(records["sha256"]):
        if digest:
            found[digest].append(row)
    return [rows for rows in found.values() if len(rows) > 1]


def near_pairs(records: np.ndarray, most_bits: int = NEAR_BITS) -> tuple[list[Pair], bool]:
    """Returns the pairs of nearly the same picture, nearest first, and whether these are all.

    Of byte-identical images the first alone is compared. Turned and mirrored copies are found too. Of many
    pictures those are compared whose hashes share some bits: most near pairs, and not surely all.
    """
    rows = _different(records)
    close = _close if len(rows) <= MOST_COMPARED else close_in_buckets
    upright = records["hashes"][rows, 0]
    best: dict[tuple[int, int], Pair] = {}
    for turn in range(NUM_TURNS):
        allowed = most_bits if turn == 0 else min(most_bits, TURNED_BITS)
        for first, second, bits in close(upright, records["hashes"][rows, turn], allowed):
            agreement = _agreement(
                records["pixels"][rows[first]], turned(records["pixels"][rows[second]], turn)
            )
            for i, j, count, value in zip(rows[first], rows[second], bits, agreement, strict=True):
                pair = Pair(int(count), int(i), int(j), turn, round(float(value), 4))
                if value >= LEAST_AGREEMENT and pair < best.get((pair.first, pair.second), _WORST):
                    best[pair.first, pair.second] = pair
            if len(best) > _MOST_PAIRS:
                return sorted(best.values()), False
    return sorted(best.values()), close is _close


def _different(records: np.ndarray) -> np.ndarray:
    """The rows of the images that were read, without all but the first of byte-identical ones."""
    _, rows = np.unique(records["sha256"], return_index=True)
    return np.sort(rows[records["sha256"][rows] != ""])


def _signs(hashes: np.ndarray) -> np.ndarray:
    """The bits as -1 and 1. The product of two hashes is exactly 256 - 2 x (bits that differ)."""
    return np.unpackbits(hashes, axis=1).astype(np.float32) * 2 - 1


def _close(
    hashes: np.ndarray, turned_hashes: np.ndarray, most_bits: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The pairs first < second whose hashes differ in few bits, block by block."""
    signs, other = _signs(hashes), _signs(turned_hashes)
    step = max(1, _BLOCK // max(1, len(signs)))
    for start in range(0, len(signs), step):
        products = signs[start : start + step] @ other[start:].T
        first, second = np.nonzero(products >= BITS - 2 * most_bits)
        upper = second > first
        first, second = first[upper], second[upper]
        if len(first):
            bits = ((BITS - products[first, second]) / 2).astype(int)
            yield first + start, second + start, bits


def _agreement(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The correlation of pictures [P, H, W]; of two even pictures, whether they are equally bright."""
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (a, b))
    equal = np.abs(a.mean(1) - b.mean(1)) <= _FLAT
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    size = np.stack([a.std(1), b.std(1)])
    correlation = (a * b).mean(1) / np.maximum(size.prod(0), 1e-9)
    flat = size < _FLAT
    return np.where(flat.all(0), equal, np.where(flat.any(0), 0.0, correlation))
