"""Random numbers that are a pure function of keys, for many images at once.

A generator object for each image would cost more than the views themselves. A counter-based hash gives every
image its own numbers, whatever batch it is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmd.runtime import derive_seed

if TYPE_CHECKING:  # An order is drawn without torch.
    from torch import Tensor

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
    return uniforms_of(index, count, derive_seed(*keys))


def uniforms_of(index: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns the numbers of `uniforms` for keys whose seed is known."""
    key = np.array([seed], dtype=np.uint64)
    stream = _mix(_mix(index.astype(np.uint64) * _GOLDEN + key) + key)
    counter = (np.arange(1, count + 1, dtype=np.uint64)) * _GOLDEN
    bits = _mix(stream[:, None] + counter[None, :])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def uniforms_on(index: Tensor, count: int, seed: Tensor) -> Tensor:
    """Returns the numbers of `uniforms_of` as float32 [B, count], computed where the indices lie.

    A GPU that waits for numbers of the processor cannot replay a step. `seed` is an int64 of no dimension.
    The products of int64 wrap around as those of uint64 do; only the shifts have to be told of the sign.
    """
    import torch

    golden = _signed(_GOLDEN)
    stream = _mix_on(_mix_on(index * golden + seed) + seed)
    counter = torch.arange(1, count + 1, device=index.device) * golden
    bits = _mix_on(stream[:, None] + counter)
    return (_shifted(bits, 11).double() * 2.0**-53).float()


def _mix_on(value: Tensor) -> Tensor:
    value = (value ^ _shifted(value, 30)) * _signed(_MIX_1)
    value = (value ^ _shifted(value, 27)) * _signed(_MIX_2)
    return value ^ _shifted(value, 31)


def _shifted(value: Tensor, bits: int) -> Tensor:
    """A shift to the right that fills with zeros."""
    return (value >> bits) & (2 ** (64 - bits) - 1)


def _signed(number: np.uint64) -> int:
    """The int64 with the same bits."""
    return int(number.astype(np.int64))
