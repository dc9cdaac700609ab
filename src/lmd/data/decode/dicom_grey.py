"""The grey values of a DICOM file as a viewer shows them: its tables, its window, its padding.

All is computed in real numbers: whole numbers of the file's own type would overflow.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lmd.data.decode.dicom_header import RefusedError, damaged, number
from lmd.data.decode.levels import scaled
from lmd.data.decode.palette import numbers

if TYPE_CHECKING:
    from pydicom import Dataset as Header

_MANY = 2**22  # Pixels of a picture whose values are looked up; there are 2**16 values at most.


def grey_of(stored: np.ndarray, header: Header) -> np.ndarray:
    """Returns stored pixels [H, W] as uint8; padding is black.

    Raises:
        RefusedError: there are pixels that are not numbers, or a table is damaged.
    """
    if stored.size > _MANY and stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
        return _by_values(stored, header)
    return _by_pixels(stored, header)


def _by_pixels(stored: np.ndarray, header: Header) -> np.ndarray:
    padding = _padding(stored, header)
    grey = _plain(stored, header)
    if grey is None:
        values = _rescaled(stored, header)
        if not np.isfinite(values).all():
            raise RefusedError("cannot be read: it has pixels that are not numbers")
        shown = _windowed(values, padding, header, real=stored.dtype.kind == "f")
        grey = ((1 - shown if _inverted(header) else shown) * 255 + 0.5).astype(np.uint8)
    elif _inverted(header):
        grey = 255 - grey
    if padding is not None:
        grey[padding] = 0
    return grey


def _by_values(stored: np.ndarray, header: Header) -> np.ndarray:
    """The same for a large picture: each value that it has is looked up, once for all its pixels.

    Nothing in `_by_pixels` depends on where a pixel is. Real numbers of every pixel would take gigabytes.
    """
    places = stored.view(f"u{stored.dtype.itemsize}")
    there, shown = np.zeros(2 ** (8 * places.itemsize), bool), np.zeros(2 ** (8 * places.itemsize), np.uint8)
    for row in places:
        there[row] = True
    values = np.flatnonzero(there).astype(places.dtype)
    shown[values] = _by_pixels(values.view(stored.dtype)[None], header)[0]
    grey = np.empty(stored.shape, np.uint8)
    for index, row in enumerate(places):
        grey[index] = shown[row]
    return grey


def _inverted(header: Header) -> bool:
    """Whether the lowest value is white. The two tags that say it say the same, and not the opposite."""
    shape = str(header.get("PresentationLUTShape") or "").strip().upper()
    return header.PhotometricInterpretation == "MONOCHROME1" or shape == "INVERSE"


def _plain(stored: np.ndarray, header: Header) -> np.ndarray | None:
    """Pixels of 8 bits or fewer that nothing is to be done to; None of others."""
    whole = stored.dtype.kind in "ub" and header.BitsStored <= 8
    if not whole or header.get("ModalityLUTSequence") or header.get("VOILUTSequence"):
        return None
    if _rescale(header) != (1, 0) or _window(header, real=False) is not None:
        return None
    return scaled(stored, header.BitsStored)


def _padding(stored: np.ndarray, header: Header) -> np.ndarray | None:
    """Which pixels are padding; None where there are none, or nothing else."""
    if header.get("PixelPaddingValue") is None or stored.dtype.kind == "f":
        return None
    first = number(header, "PixelPaddingValue")
    # Some files write a negative value as one without sign, or the reverse: the bits are the same.
    ends = np.array([first, number(header, "PixelPaddingRangeLimit", first)]).astype(stored.dtype)
    mask = (stored >= ends.min()) & (stored <= ends.max())
    return mask if mask.any() and not mask.all() else None


def _rescaled(stored: np.ndarray, header: Header) -> np.ndarray:
    """Pixels through the file's modality table, or its slope and intercept."""
    values = stored.astype(np.float64)
    if header.get("ModalityLUTSequence"):
        return _through_table(values, header, "ModalityLUTSequence")[0]
    slope, intercept = _rescale(header)
    if slope == 0:
        raise RefusedError("cannot be read: its tag RescaleSlope is 0, which makes all pixels alike")
    return values if (slope, intercept) == (1, 0) else values * slope + intercept


def _rescale(header: Header) -> tuple[float, float]:
    """Slope and intercept; one alone has no meaning."""
    slope, intercept = _real(header, "RescaleSlope"), _real(header, "RescaleIntercept")
    return (1, 0) if slope is None or intercept is None else (slope, intercept)


def _windowed(values: np.ndarray, padding: np.ndarray | None, header: Header, *, real: bool) -> np.ndarray:
    """Values from 0 to 1, through the VOI table or the window; without them, lowest to highest."""
    if header.get("VOILUTSequence"):
        entries, bits = _through_table(values, header, "VOILUTSequence")
        return entries / (2.0**bits - 1)
    window = _window(header, real=real)
    if window is not None:
        return _through_window(values, *window)
    inside = values if padding is None else values[~padding]
    low, high = float(inside.min()), float(inside.max())
    return ((values - low) / max(high - low, 1e-300)).clip(0, 1)


def _through_table(values: np.ndarray, header: Header, sequence: str) -> tuple[np.ndarray, int]:
    """The entries of a table for values, and how many bits they use; beyond its ends the last one counts.

    Some programs declare 16 bits, whatever they write: such a table has the bits of its largest entry.
    """
    try:
        item = header[sequence].value[0]
        count, first, bits = (int(value) for value in item.LUTDescriptor[:3])
        count = (count & 0xFFFF) or 65536
        entries = numbers(item["LUTData"], header, count)
    except Exception:
        raise damaged(f"the table in its tag {sequence} cannot be read") from None
    if first > 32767 and (header.get("PixelRepresentation") or values.min() < 0):
        first -= 65536
    top = int(entries.max())
    bits = bits if bits < 16 and top < 2**bits else max(8, top.bit_length())
    return entries[np.clip(np.rint(values) - first, 0, count - 1).astype(np.int64)].astype(np.float64), bits


def _window(header: Header, *, real: bool) -> tuple[float, float, str] | None:
    """The centre, width and form of the file's (first) window; None where there is none that can be used.

    The linear window begins half a whole number lower. Real numbers have no such steps.
    """
    centre, width = _real(header, "WindowCenter"), _real(header, "WindowWidth")
    if centre is None or width is None:
        return None
    form = str(header.get("VOILUTFunction") or "LINEAR").upper()
    form = "LINEAR_EXACT" if real and form == "LINEAR" else form
    least = 1.0 if form == "LINEAR" else 0.0
    return (centre, width, form) if width >= least and width > 0 else None


def _real(header: Header, tag: str) -> float | None:
    """The first value of a tag; None where it has none."""
    value: Any = header.get(tag)
    if hasattr(value, "__iter__") and not isinstance(value, str):
        value = next(iter(value), None)
    if value is None or value == "":
        return None
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise damaged(f"its tag {tag} has a value that cannot be read")
    return found


def _through_window(values: np.ndarray, centre: float, width: float, form: str) -> np.ndarray:
    """DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3, scaled to 0 and 1."""
    if form == "SIGMOID":
        return 1 / (1 + np.exp((-4 * (values - centre) / width).clip(-700, 700)))
    if form == "LINEAR":
        centre, width = centre - 0.5, width - 1
    return ((values - centre) / max(width, 1e-12) + 0.5).clip(0, 1)
