"""How large an image may be. What is larger is refused before any memory is taken for it: docs/images.md.

The bounds keep one image under 1.5 GB of memory, the program included (`tests/data/decode/test_large.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from lmd.errors import DataError

MAX_PIXELS = 100_000_000  # 10,000 x 10,000.
MAX_BYTES = 300_000_000  # Of its samples, as they are stored: the same picture in colours of 8 bits.
MAX_OF_JPEG = 300_000_000  # Pixels of a JPEG that is decoded at a fraction of its size.
LARGE_PIXELS = 20_000_000  # Larger images are decoded one at a time: many at once would fill the memory.
_LARGE = threading.Lock()
_FEWER: ContextVar[int | None] = ContextVar("fewer", default=None)


class TooLargeError(DataError):
    """An image with more pixels than are allowed."""


@contextmanager
def at_most(pixels: int) -> Iterator[None]:
    """Allows images of so many pixels only, in this thread for a while; never more than otherwise."""
    before = _FEWER.set(pixels)
    try:
        yield
    finally:
        _FEWER.reset(before)


def check_size(width: int, height: int, name: str, depth: float = 3, most: int | None = None) -> None:
    """Refuses an image that is too large.

    Args:
        width: columns.
        height: rows.
        name: what a message calls the file.
        depth: the bytes of a pixel, all its samples together.
        most: the pixels that are allowed, where they are others than `MAX_PIXELS`.

    Raises:
        TooLargeError: says how large it is, how large it may be, and what helps.
    """
    pixels, most = width * height, MAX_PIXELS if most is None else most
    most = min(most, int(MAX_BYTES / depth)) if most == MAX_PIXELS else most
    most = min(most, _FEWER.get() or most)
    if pixels > most:
        raise TooLargeError(
            f"image {name} is too large: {width} x {height} pixels are {pixels / 1e6:,.0f} million, and "
            f"{most / 1e6:,.0f} million are the most for its kind; make it smaller, or cut it into parts"
        )


def beyond_all(name: str) -> DataError:
    """Returns the refusal of an image that Pillow does not even open."""
    most = f"{MAX_PIXELS / 1e6:,.0f} million pixels ({MAX_OF_JPEG / 1e6:,.0f} million of a JPEG)"
    return TooLargeError(
        f"image {name} is too large: at most {most} are read; make it smaller, or cut it into parts"
    )


def in_turn(pixels: int) -> AbstractContextManager[Any]:
    """Returns what a large image waits for until no other is being decoded."""
    return _LARGE if pixels > LARGE_PIXELS else nullcontext()
