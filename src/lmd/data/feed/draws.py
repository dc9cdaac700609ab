"""Random numbers that are a pure function of keys, for many images at once.

A generator object for each image would cost more than the views themselves. A counter-based hash gives every
image its own numbers, whatever batch it is in.
"""

from __future__ import annotations

import numpy as np

from lmd.runtime import derive_seed

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(value: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection of 64 bits that looks random."""
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))


def uniforms(index: np.ndarray, count: int, *keys: int | str) -> np.ndarray:
    """Returns `count` uniform numbers in [0, 1) for each image: float64 [B, count].

    A function of (keys, image) alone: the same image gets the same numbers in any batch.
    """
    key = np.array([derive_seed(*keys)], dtype=np.uint64)
    stream = _mix(_mix(index.astype(np.uint64) * _GOLDEN + key) + key)
    counter = (np.arange(1, count + 1, dtype=np.uint64)) * _GOLDEN
    bits = _mix(stream[:, None] + counter[None, :])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
