"""Values of any depth become 8 bits. The rules, and why they are alike for all images: docs/images.md."""

from __future__ import annotations

import math

import numpy as np

DEEP = 16  # Bits of the files that may use fewer: --bits is for them.
_SCALED = ((np.arange(65536) * 255 + 32767) // 65535).astype(np.uint8)  # 16 bits -> 8, rounded.


def scaled(values: np.ndarray, bits: int) -> np.ndarray:
    """Returns unsigned values in 8 bits: 0 to the largest of `bits` bits becomes 0-255, rounded.

    >>> scaled(np.array([0, 8, 4095], np.uint16), 12).tolist()
    [0, 0, 255]
    """
    if bits == DEEP:
        return _SCALED[values]
    if bits == 8:
        return values.astype(np.uint8)
    top = 2**bits - 1
    return ((values.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8)


def stretched(values: np.ndarray, bits: int | None) -> np.ndarray:
    """Returns 16-bit values in 8 bits; `bits` says how many of the 16 are used.

    Raises:
        ValueError: a value needs more bits than that.
    """
    if bits is None:
        return scaled(values, DEEP)
    _refuse_beyond(int(values.max(initial=0)), bits)
    return scaled(values, bits)


def _refuse_beyond(top: int, bits: int) -> None:
    if top >= 2**bits:
        raise ValueError(
            f"it has the value {top:,}, and --bits {bits} allows {2**bits - 1:,} at most; "
            f"say --bits {top.bit_length()} or leave --bits out"
        )


def top_of_wide(values: np.ndarray) -> int:
    """Returns the largest of values that `squeezed` takes as 0-65535; 0 where it takes another range."""
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    return math.ceil(high) if low >= 0 and 255 < high <= 65535 else 0


def squeezed(values: np.ndarray, bits: int | None = None) -> np.ndarray:
    """Returns signed, 32-bit, 64-bit and real values in 8 bits.

    The first of the ranges 0-1 (real numbers only), 0-255 and 0-65535 that holds all values becomes 0-255;
    else their own range. With `bits`, values of 0 or more that go beyond 0-1 have the range of so many bits.

    Raises:
        ValueError: there are pixels that are not numbers, or values that need more bits than that.
    """
    if not np.isfinite(values).all():
        raise ValueError("it has pixels that are not numbers")
    low, high = float(values.min()), float(values.max())
    tops = (1.0, 255.0, 65535.0) if values.dtype.kind == "f" else (255.0, 65535.0)
    if low >= 0 and bits is not None:
        _refuse_beyond(math.ceil(high), bits)
        tops = (*tops[:-2], 2.0**bits - 1)
    if low >= 0:
        low, high = 0.0, next((top for top in tops if high <= top), high)
    if values.dtype.itemsize != 4 or values.dtype.kind != "f":
        values = values.astype(np.float64)  # Differences may leave the range of the type.
    return ((values - low) * (255.0 / max(high - low, 1e-12)) + 0.5).astype(np.uint8)


def colours_in_eight_bits(table: np.ndarray) -> np.ndarray:
    """Returns a palette of 16-bit colours in 8 bits.

    Some programs write 8-bit colours into 16-bit tables. Where no entry is above 255, they are taken as such.
    """
    return (table if int(table.max(initial=0)) < 256 else table >> 8).astype(np.uint8)


def upon_black(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Returns colours on black; `alpha` [H, W, 1] is 255 where they hide it.

    A file in which all pixels are transparent has no transparency: its writer left the channel empty.
    """
    if not alpha.any():
        return picture
    return ((picture.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)


def without(picture: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """Returns a picture whose transparent pixels `clear` are black, unless all of them are."""
    if not clear.all():
        picture[clear] = 0
    return picture


def few_bits(top: int) -> str | None:
    """Returns what is to be said of 16-bit images whose largest value needs fewer bits; None of others."""
    bits = max(8, top.bit_length())
    if not top or bits == DEEP:
        return None
    return (
        f"the images of 16 bits or more use {bits} bits only (largest value {top:,}): they come out dark; "
        f"--bits {bits} stretches them"
    )
