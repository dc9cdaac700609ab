"""DICOM palettes: what colour each pixel value has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmd.data.decode.levels import colours_in_eight_bits

if TYPE_CHECKING:
    from pydicom import DataElement
    from pydicom import Dataset as Header

COLOURS = ("Red", "Green", "Blue")


def painted(stored: np.ndarray, header: Header) -> np.ndarray:
    """Returns pixels [H, W] in the colours of the file's palette, RGB uint8; its transparency is left out.

    Raises:
        ValueError: the palette is damaged.
    """
    count, first = _described(header)
    if "RedPaletteColorLookupTableData" in header:
        tables = [
            numbers(header[f"{colour}PaletteColorLookupTableData"], header, count) for colour in COLOURS
        ]
        table = np.stack(tables, axis=1)
    else:
        table = _expanded(header, first, count)
    places = np.clip(stored.astype(np.int64) - first, 0, count - 1)  # What is beyond has the nearest entry.
    return colours_in_eight_bits(table)[places]


def _described(header: Header) -> tuple[int, int]:
    """How many entries the palette has, and the pixel value of the first."""
    count, first = (int(value) for value in header.RedPaletteColorLookupTableDescriptor[:2])
    if first > 32767 and header.get("PixelRepresentation"):
        first -= 65536
    return (count & 0xFFFF) or 65536, first


def numbers(element: DataElement, header: Header, count: int) -> np.ndarray:
    """Returns the entries of a table: 8 or 16 bits in the file's order, or numbers that pydicom made of them.

    Raises:
        ValueError: there are fewer than `count`.
    """
    data, big = element.value, header.original_encoding[1] is False
    if not isinstance(data, bytes):
        whole = np.array(data, np.int64).reshape(-1) & 0xFFFF
        data = whole.astype(">u2" if big else "<u2").tobytes()
    if len(data) >= 2 * count:
        table = np.frombuffer(data[: 2 * count], ">u2" if big else "<u2")
    else:  # 8 bits, two in a word; the last may be alone.
        table = np.frombuffer(data, np.uint8)
        if big and element.VR != "OB" and len(data) % 2 == 0:
            table = table.reshape(-1, 2)[:, ::-1].reshape(-1)
    if len(table) < count:
        raise ValueError("the palette ends early")
    return table[:count].astype(np.uint16)


def _expanded(header: Header, first: int, count: int) -> np.ndarray:
    """The entries of a segmented palette; pydicom expands it for each value that has one."""
    from pydicom.pixels import apply_color_lut

    values = np.arange(first, first + count, dtype=np.int32)[None]
    return apply_color_lut(values, header)[0, :, :3]
