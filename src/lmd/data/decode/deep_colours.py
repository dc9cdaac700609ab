"""Colours of 16 bits in PNG and PPM. Pillow reads their upper bytes; here the lower ones are read as well."""

from __future__ import annotations

import io
import re
import zlib
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from lmd.data.decode.levels import DEEP, scaled, stretched, upon_black, without

_PNM_HEAD = re.compile(rb"P([2356])(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+(\d+)\s")
_MOST_HEAD = 2**16  # Bytes in which the numbers of a PNM lie, long comments included.


def pnm_top(file: BinaryIO) -> int:
    """Returns the largest value that a PNM file names; 0 where it has none."""
    file.seek(0)
    found = _PNM_HEAD.match(file.read(_MOST_HEAD))
    return int(found[2]) if found else 0


def whole_colours(file: BinaryIO, image: Image.Image, head: bytes) -> np.ndarray | None:
    """Returns the samples [H, W, 2 to 4] of 16-bit colours; None where the file has others.

    `image` is the same file as Pillow has read it, and `head` its first bytes.
    """
    if getattr(image, "n_frames", 1) > 1:
        return None
    if image.format == "PNG" and head[24] == DEEP and head[25] in (2, 6):
        return _of_png(file, np.asarray(image))
    if image.format == "PNG" and head[24] == DEEP and head[25] == 4:
        return _of_grey_png(file)
    if image.format == "PPM" and image.mode == "RGB":
        return _of_ppm(file, image.size)
    return None


def _of_png(file: BinaryIO, upper: np.ndarray) -> np.ndarray:
    """Reads the file once more, told that its numbers have their lower byte first."""
    file.seek(0)
    with Image.open(file, formats=("PNG",)) as image:
        image.tile = [part._replace(args=f"{image.mode};16L") for part in image.tile]
        lower = np.asarray(image)
    return upper.astype(np.uint16) << 8 | lower


def _of_grey_png(file: BinaryIO) -> np.ndarray:
    """Reads grey with transparency, 2 and 2 bytes, as four colours of a byte."""
    file.seek(0)
    data = bytearray(file.read())
    data[24:26] = 8, 6  # Bits and kind of the colours, and the checksum over them.
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return np.ascontiguousarray(np.asarray(image)).view(">u2").astype(np.uint16)


def _of_ppm(file: BinaryIO, size: tuple[int, int]) -> np.ndarray | None:
    file.seek(0)
    found = _PNM_HEAD.match(file.read(_MOST_HEAD))
    if found is None or found[1] != b"6" or int(found[2]) != 65535:
        return None
    file.seek(found.end())
    return np.frombuffer(file.read(6 * size[0] * size[1]), ">u2").reshape(size[1], size[0], 3)


def stretched_colours(values: np.ndarray, bits: int, clear: Any) -> np.ndarray:
    """Returns samples as RGB uint8, of which `bits` are used; a pixel of the colour `clear` is transparent.

    Raises:
        ValueError: a colour needs more bits than that.
    """
    count = 3 if values.shape[2] >= 3 else 1
    colours = stretched(values[..., :count], bits)
    if values.shape[2] > count:
        colours = upon_black(colours, scaled(values[..., count:], DEEP))
    if isinstance(clear, tuple):
        colours = without(colours, (values[..., :count] == np.array(clear)).all(axis=2))
    return np.repeat(colours, 3, axis=2) if count == 1 else colours
