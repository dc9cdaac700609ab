"""The samples of a TIFF page as they are stored: strips or tiles of any layout, compressed or not."""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from lmd.data.decode.bounds import MAX_BYTES
from lmd.data.decode.tiff_pages import REAL, SIGNED, Page

_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS, _LZMA, _ZSTD = 1, 5, 8, 32946, 32773, 34925, 50000
LOSSLESS = (_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS, _LZMA, _ZSTD)
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]


class _Part(NamedTuple):
    """A strip or tile: its place in the file, and in the picture."""

    start: int
    length: int
    plane: int
    top: int
    left: int
    rows: int
    columns: int


def samples(file: BinaryIO, page: Page) -> np.ndarray:
    """Returns the samples [H, W, S] of a page in their own type; fewer than 8 bits become whole numbers.

    Raises:
        ValueError: the file ends early or is damaged, or samples are of a kind that is not read.
    """
    kind = _type(page)
    parts = whole(file, page)
    picture = np.zeros((page.height, page.width, page.samples), kind.newbyteorder("="))
    for part in parts:
        values = _values(_bytes(file, page, part), page, part)
        rows, columns = min(part.rows, page.height - part.top), min(part.columns, page.width - part.left)
        planes = slice(part.plane, part.plane + 1) if page.planar else slice(None)
        place = picture[part.top : part.top + rows, part.left : part.left + columns, planes]
        place[...] = values[:rows, :columns]
    return picture


def _type(page: Page) -> np.dtype:
    """The type of the samples in memory."""
    letter = {REAL: "f", SIGNED: "i"}.get(page.kind, "u")
    depth = page.bits if letter != "u" or page.bits > 16 else 8 if page.bits <= 8 else 16
    if f"{letter}{depth}" not in ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f16", "f32", "f64"):
        raise ValueError(f"it is {page.words}, which is not read; save it with 8 or 16 bits")
    return np.dtype(f"{letter}{depth // 8}").newbyteorder(page.order)


def _parts(page: Page) -> Iterator[_Part]:
    tiled = bool(page.values(322))
    columns = page.value(322, page.width) if tiled else page.width
    rows = page.value(323, page.height) if tiled else min(page.value(278, page.height), page.height)
    if min(rows, columns) < 1 or rows * columns * page.samples * page.bits / 8 > MAX_BYTES:
        raise ValueError(
            "it is a damaged TIFF: its strips or tiles have no size, or one beyond the picture's"
        )
    starts, lengths = page.values(324 if tiled else 273), page.values(325 if tiled else 279)
    planes = range(page.samples if page.planar else 1)
    tops, lefts = range(0, page.height, rows), range(0, page.width, columns)
    count = len(planes) * len(tops) * len(lefts)  # It may be millions more than the file has.
    if not any(lengths) and page.compression == _NONE:  # Some writers leave them out, or write 0.
        lengths = tuple(_row_bytes(page, columns) * rows for _ in starts)
    if min(len(starts), len(lengths)) < count:
        raise ValueError(f"it is a damaged TIFF: {len(starts)} of its {count} strips or tiles are there")
    corners = itertools.product(planes, tops, lefts)
    for (plane, top, left), start, length in zip(corners, starts, lengths, strict=False):
        yield _Part(start, length, plane, top, left, rows if tiled else min(rows, page.height - top), columns)


def check_tiles(page: Page) -> None:
    """Refuses tiles that are larger than any picture: memory is taken for a whole one.

    Raises:
        ValueError: they are, or have no size.
    """
    next(_parts(page), None)


def whole(file: BinaryIO, page: Page) -> list[_Part]:
    """Returns the strips or tiles of a page, which are all there.

    Raises:
        ValueError: the file ends early or leaves parts out.
    """
    parts = list(_parts(page))
    end = file.seek(0, io.SEEK_END)
    needed = max(part.start + part.length for part in parts)
    if needed > end:
        raise ValueError(f"it ends early: {end:,} of {needed:,} bytes are there")
    if not all(part.start and part.length for part in parts):
        raise ValueError("it is a TIFF that leaves out some of its strips or tiles")
    if page.compression == _NONE and any(part.length < _size(page, part) for part in parts):
        raise ValueError("it is a damaged TIFF: a strip or tile is shorter than its rows")
    return parts


def _row_bytes(page: Page, columns: int) -> int:
    return (columns * (1 if page.planar else page.samples) * page.bits + 7) // 8


def _size(page: Page, part: _Part) -> int:
    return _row_bytes(page, part.columns) * part.rows


def _bytes(file: BinaryIO, page: Page, part: _Part) -> bytes:
    """The bytes of a part, unpacked."""
    file.seek(part.start)
    data = file.read(part.length)
    if page.value(266, 1) == 2:
        data = _REVERSED[np.frombuffer(data, np.uint8)].tobytes()
    if page.compression == _NONE:
        return data[: _size(page, part)]
    return _unpacked(data, page.compression, _row_bytes(page, part.columns), part.rows)


def _unpacked(data: bytes, compression: int, width: int, height: int) -> bytes:
    """Unpacks a part: Pillow reads it as the only strip of a grey picture whose pixels are the bytes."""
    tags = [(256, width), (257, height), (258, 8), (259, compression), (262, 1), (273, 122), (277, 1)]
    tags += [(278, height), (279, len(data))]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + table + bytes(4)
    with Image.open(io.BytesIO(head + data), formats=("TIFF",)) as strip:
        return strip.tobytes()


def _values(data: bytes, page: Page, part: _Part) -> np.ndarray:
    """The samples of a part [rows, columns, samples], the predictor undone."""
    depth, predictor = page.bits, page.value(317, 1)
    shape = (part.rows, part.columns, 1 if page.planar else page.samples)
    if predictor not in (1, 2, 3) or (predictor == 2 and depth % 8) or (predictor == 3 and page.kind != REAL):
        raise ValueError(f"it is {page.words} with a predictor that is not read; save it uncompressed")
    if predictor == 3:
        return _of_real_differences(data, depth, shape)
    if depth % 8:
        return _small(data, depth, shape)
    type_ = _type(page)
    if predictor == 2:
        whole = np.frombuffer(data, f"{page.order}u{depth // 8}").reshape(shape)
        return np.cumsum(whole, axis=1, dtype=whole.dtype.newbyteorder("=")).view(type_.newbyteorder("="))
    return np.frombuffer(data, type_).reshape(shape)


def _of_real_differences(data: bytes, depth: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Undoes predictor 3: a row's bytes, sorted by their place in the number, are stored as differences."""
    rows, columns, count = shape
    planes = np.frombuffer(data, np.uint8).reshape(rows, -1, count).cumsum(axis=1, dtype=np.uint8)
    sorted_bytes = planes.reshape(rows, depth // 8, columns * count).transpose(0, 2, 1)
    return np.ascontiguousarray(sorted_bytes).view(f">f{depth // 8}").reshape(shape)


def _small(data: bytes, depth: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Samples whose bits are no whole bytes; a row begins with a new byte."""
    rows, columns, count = shape
    bits = np.unpackbits(np.frombuffer(data, np.uint8).reshape(rows, -1), axis=1)
    weights = (1 << np.arange(depth - 1, -1, -1)).astype(np.uint16)
    return (bits[:, : columns * count * depth].reshape(rows, -1, depth) @ weights).reshape(shape)
