"""JPEG 2000 files that Pillow shows wrongly: colours of more than 8 bits, signed samples, fewer than 8 bits.

Pillow adds a half before it drops bits, and white overflows to black. It does not know a sign.
"""

from __future__ import annotations

import io
import logging
import re
import struct
from collections.abc import Callable
from functools import cache
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from lmd.data.decode.levels import DEEP, scaled, squeezed, stretched, top_of_wide, upon_black
from lmd.errors import DataError
from lmd.extras import how_to_install

_START = b"\xff\x4f\xff\x51"
_MOST_BEFORE = 2**24  # Bytes of boxes before the picture, colour profiles among them.
_SYCC, _CMYK = 18, 12


class Samples(NamedTuple):
    """What a file says of its samples: its size, the bits and signs of each colour, and its colour space."""

    size: tuple[int, int]
    bits: tuple[int, ...]
    signs: tuple[bool, ...]
    whole: bool
    """whether each pixel has a sample of each colour"""
    space: int
    """the number of its colour space; 0 where it names none"""

    @property
    def words(self) -> str:
        """The kind of file, for a message."""
        kind = {1: "grey", 2: "grey and transparent"}.get(len(self.bits), "colour")
        sign = "signed " if any(self.signs) else ""
        return f"a JPEG 2000 with {sign}{kind} samples of {max(self.bits)} bits"


def samples_of(file: BinaryIO) -> Samples | None:
    """Returns how the samples of a file are stored; None where it has no picture."""
    file.seek(0)
    before = file.read(_MOST_BEFORE)
    place = _place_of(before)
    if place < 0 or len(before) < place + 42:
        return None
    width, height, left, top = struct.unpack_from(">IIII", before, place + 8)
    (count,) = struct.unpack_from(">H", before, place + 40)
    parts = np.frombuffer(before[place + 42 :][: 3 * count], np.uint8)
    if count == 0 or len(parts) < 3 * count:
        return None
    depth, steps = parts[::3], (parts[1::3], parts[2::3])
    space = re.search(rb"colr\x01..(.{4})", before[:place], re.DOTALL)
    return Samples(
        (width - left, height - top),
        tuple((depth & 0x7F).astype(int) + 1),
        tuple(bool(sign) for sign in depth >> 7),
        all((step == 1).all() for step in steps),
        int.from_bytes(space[1], "big") if space else 0,
    )


def _place_of(data: bytes) -> int:
    """Where the picture begins: at once, or behind the length of its box, which may have two parts."""
    if data.startswith(_START):
        return 0
    found = re.search(rb"jp2c(?:.{8})?(?=\xff\x4f\xff\x51)", data, re.DOTALL)
    return found.end() if found else -1


def suits_pillow(found: Samples, mode: str) -> bool:
    """Whether Pillow reads the samples right; those of fewer than 8 bits become wider by `widened`."""
    if any(found.signs):
        return False
    return max(found.bits) <= 8 or (
        mode.startswith("I;16") and len(found.bits) == 1 and found.bits[0] <= DEEP
    )


def widened(image: Image.Image, found: Samples) -> Image.Image:
    """Returns a picture of fewer than 8 bits in their full range: Pillow fills them up with zeros.

    Raises:
        ValueError: it has a palette, whose places Pillow takes wrongly.
    """
    if min(found.bits) >= 8:
        return image
    if image.mode in ("P", "PA"):
        raise ValueError(f"it is {found.words} and a palette, which is not read; save it as PNG")
    tops = [(2 ** min(bits, 8) - 1) << (8 - min(bits, 8)) for bits in found.bits]
    values = np.asarray(image)
    table = np.stack([(np.arange(256) * 255 + top // 2) // top for top in tops], axis=1).clip(0, 255)
    wide = table[values, 0] if values.ndim == 2 else table[values, np.arange(values.shape[2])]
    return Image.fromarray(wide.astype(np.uint8), image.mode)


def deep(
    file: BinaryIO, found: Samples, image: Image.Image, name: str, bits: int | None
) -> tuple[np.ndarray, int]:
    """Returns the RGB of samples that Pillow reads wrongly, and the largest value of 16 bits (else 0).

    `image` is the same file, as Pillow has opened it.

    Raises:
        DataError: what reads it is not installed.
        ValueError: it is damaged, or of a kind that is not read.
    """
    _check(found, image)
    decode = _decoder()
    if decode is None:
        install = how_to_install("dicom")
        raise DataError(f"image {name} is {found.words}, which needs more to be installed: {install}")
    file.seek(0)
    values = np.atleast_3d(decode(io.BytesIO(file.read())))
    count = 1 if len(found.bits) < 3 else 3
    colours = values[..., :count]
    eight = _eight_bits(colours, found, bits)
    picture = np.repeat(eight, 3, axis=2) if count == 1 else eight
    if len(found.bits) > count:
        picture = upon_black(picture, scaled(values[..., count:], found.bits[0]))
    if found.signs[0]:
        return picture, top_of_wide(colours)
    return picture, int(colours.max()) if found.bits[0] == DEEP else 0


def _check(found: Samples, image: Image.Image) -> None:
    alike = len(set(found.bits)) == 1 and len(set(found.signs)) == 1
    signed_alpha = any(found.signs) and len(found.bits) in (2, 4)
    odd = found.space in (_SYCC, _CMYK) or not found.whole or len(found.bits) > 4
    odd = odd or image.mode in ("P", "PA")
    if odd or signed_alpha or not alike or max(found.bits) > DEEP:
        raise ValueError(f"it is {found.words}, of a kind that is not read; save it as PNG or TIFF")


def _eight_bits(values: np.ndarray, found: Samples, bits: int | None) -> np.ndarray:
    if found.signs[0]:
        return squeezed(values, bits)
    if found.bits[0] != DEEP:
        return scaled(values, found.bits[0])
    if bits is None and values.shape[2] == 3:  # Of colours the upper bits, as of other files.
        return (values >> 8).astype(np.uint8)
    return stretched(values, bits)


@cache
def _decoder() -> Callable[[io.BytesIO], np.ndarray] | None:
    """The decoder that DICOM files need as well; None where it is not installed."""
    try:
        from openjpeg import decode
    except ImportError:
        return None
    logging.getLogger("openjpeg").setLevel(logging.CRITICAL)
    return decode
