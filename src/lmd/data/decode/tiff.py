"""A TIFF page becomes RGB uint8, decided by its tags: read by Pillow where it reads them right, else here."""

from __future__ import annotations

import re
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from lmd.data.decode.levels import (
    DEEP,
    colours_in_eight_bits,
    scaled,
    squeezed,
    stretched,
    top_of_wide,
    upon_black,
)
from lmd.data.decode.tiff_pages import LAB, PALETTE, REAL, SIGNED, UNSIGNED, YCBCR, Page
from lmd.data.decode.tiff_strips import LOSSLESS, check_tiles, samples, whole

_OLD_JPEG, _JPEG = 6, 7
# What Pillow's libtiff unpacks, and nothing else does: fax, old and new JPEG.
_BY_PILLOW = (2, 3, 4, _OLD_JPEG, _JPEG, 32771)
_OTHERS = {
    33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG",
    34934: "JPEG XR", 22610: "JPEG XR", 50002: "JPEG XL", 52546: "JPEG XL", 32809: "ThunderScan",
    34933: "PNG", 50001: "WebP",
}  # fmt: skip
_COLOURS = {
    -1: 1,
    0: 1,
    1: 1,
    2: 3,
    PALETTE: 1,
    5: 4,
    YCBCR: 3,
    LAB: 3,
}  # Samples of a pixel, by photometric.
_PREMULTIPLIED, _TRANSPARENCY = 1, 2
_DNG = 50706


class Shown(NamedTuple):
    """A page in RGB, and the largest value of one with 16 bits (else 0)."""

    image: Image.Image
    top: int


def check(page: Page, count: int) -> None:
    """Refuses a page that nobody here reads right; the file has `count` of them.

    Raises:
        ValueError: says what the page is, and what helps.
    """
    if page.width * page.height == 0:
        raise ValueError("it is a damaged TIFF: it has no pixels")
    if page.values(_DNG) or page.photometric in (32803, 34892):
        raise ValueError("it is a camera's raw file; save it as a 16-bit TIFF or PNG")
    if page.photometric == -1 and page.compression not in _BY_PILLOW:
        raise ValueError("it is a TIFF that does not say whether 0 is black or white; save it again")
    if page.kind not in (UNSIGNED, SIGNED, REAL) or page.photometric not in _COLOURS:
        raise ValueError(f"it is {page.words}, which is not read; save it as grey or RGB")
    if page.value(32997, 1) > 1 or max(_imagej_stack(page), len(page.values(33629))) > count:
        raise ValueError("it is a TIFF of a volume; save its slices as files of their own")
    if page.compression not in (*LOSSLESS, *_BY_PILLOW):
        name = _OTHERS.get(page.compression, f"number {page.compression}")
        raise ValueError(f"it is a TIFF with a compression that is not read ({name}); save it uncompressed")
    _check_jpeg(page)
    _check_inks(page)
    if page.samples - _COLOURS[page.photometric] not in (0, len(page.extra)) or (
        _COLOURS[page.photometric] == 1 and page.samples > 2
    ):
        raise ValueError(
            f"it is {page.words} of {page.samples} channels; save those that matter as grey or RGB"
        )


def _check_jpeg(page: Page) -> None:
    """Old JPEG has 8 bits. Of 12 bits, libtiff leaves out the last of an odd number of columns."""
    if page.compression not in (_OLD_JPEG, _JPEG) or page.bits == 8:
        return
    odd = page.width % 2 and not page.values(322)
    if page.compression == _OLD_JPEG or page.bits != 12 or page.samples > 1 or page.photometric != 1 or odd:
        where = " with an odd number of columns" if odd else ""
        raise ValueError(
            f"it is {page.words} compressed as JPEG{where}, which is not read; save it uncompressed"
        )


def _check_inks(page: Page) -> None:
    """Refuses what looks like colours and is none, or has fewer samples than pixels."""
    if page.photometric == 5 and page.value(332, 1) == 2:
        raise ValueError("it is a TIFF of inks that are not cyan, magenta, yellow and black; save it as RGB")
    if page.photometric != YCBCR or page.compression != 1 or page.bits != 8:
        return
    stored = sum(page.values(325 if page.values(322) else 279)) or page.width * page.height * 3
    if page.values(530, (1, 1)) != (1, 1) or stored < page.width * page.height * 3:
        raise ValueError(f"it is {page.words} with fewer colour samples than pixels; save it as RGB")


def check_parts(file: BinaryIO, page: Page) -> None:
    """Refuses a page whose strips or tiles are not all there: Pillow would leave them black.

    Raises:
        ValueError: says what is missing.
    """
    if page.compression in LOSSLESS:
        whole(file, page)
    elif page.values(322):
        check_tiles(page)


def _imagej_stack(page: Page) -> int:
    """The pictures that ImageJ has put behind a single page, where it says so."""
    found = re.match(rb"ImageJ=[^\0]*?\nimages=(\d{1,9})\n", bytes(page.values(270)))
    return int(found[1]) if found else 1


def suits_pillow(page: Page) -> bool:
    """Whether Pillow reads a page right: 8 bits or fewer, colours side by side, or what it alone unpacks."""
    if page.compression in _BY_PILLOW:
        return True
    if len(page.extra) > 1 or (page.extra and page.photometric not in (1, 2)):
        return False
    if page.large and page.order == ">":  # Pillow loses its way in the tags of some.
        return False
    small = page.bits == 8 or (page.bits in (1, 2, 4) and page.samples == 1)
    if page.kind != UNSIGNED or page.planar or not small or page.extra[:1] == (_PREMULTIPLIED,):
        return False
    if page.value(266, 1) == 2 and page.samples > 1:
        return False
    if page.photometric == PALETTE:
        return page.extra == () and max(page.values(320), default=0) > 255
    if page.photometric == YCBCR and page.compression == 1:
        return page.values(530, (2, 2)) == (1, 1)
    return True


def narrowed(image: Image.Image, page: Page) -> np.ndarray:
    """Returns grey values of fewer than 16 bits, which Pillow gives as they are stored, in 8 bits."""
    return np.repeat(scaled(np.asarray(image), page.bits)[..., None], 3, axis=2)


def shown(file: BinaryIO, page: Page, bits: int | None) -> Shown:
    """Returns a page that Pillow does not read right.

    Raises:
        ValueError: it is damaged, or of a kind that is not read.
    """
    if page.photometric in (YCBCR, LAB) and (page.bits != 8 or page.values(530, (1, 1)) != (1, 1)):
        raise ValueError(f"it is {page.words}, which is not read; save it as RGB")
    values = samples(file, page)
    deep = page.kind == UNSIGNED and page.bits == DEEP and page.photometric in (0, 1, 2, 5)
    picture = _upon_black(_coloured(values, page, bits), values, page)
    colours = values[..., : _COLOURS[page.photometric]]
    wide = page.kind != UNSIGNED or page.bits > DEEP
    top = int(colours.max()) if deep else top_of_wide(colours) if wide else 0
    return Shown(Image.fromarray(picture), top)


def _coloured(values: np.ndarray, page: Page, bits: int | None) -> np.ndarray:
    """Samples as RGB uint8, without their transparency."""
    colours = values[..., : _COLOURS[page.photometric]]
    if page.photometric == PALETTE:
        return _painted(colours[..., 0], page)
    if page.photometric in (0, 1):
        grey = _grey(colours, page, bits)
        return np.repeat(255 - grey if page.photometric == 0 else grey, 3, axis=2)
    eight = _eight_bits(colours, page, bits)
    mode = {5: "CMYK", YCBCR: "YCbCr", LAB: "LAB"}.get(page.photometric)
    if mode is None:
        return eight
    if mode == "LAB":  # Pillow counts its a and b from 128.
        eight = eight ^ np.array([0, 128, 128], np.uint8)
    height, width = eight.shape[:2]
    return np.asarray(Image.frombytes(mode, (width, height), eight.tobytes()).convert("RGB"))


def _grey(values: np.ndarray, page: Page, bits: int | None) -> np.ndarray:
    if page.kind == UNSIGNED and page.bits == DEEP:
        return stretched(values, bits)
    return scaled(values, page.bits) if page.kind == UNSIGNED and page.bits < DEEP else squeezed(values, bits)


def _eight_bits(values: np.ndarray, page: Page, bits: int | None) -> np.ndarray:
    """Colours in 8 bits: of 16 bits the upper ones, as of other files."""
    if page.kind != UNSIGNED or page.bits > DEEP:
        return squeezed(values, bits)
    if page.bits == DEEP and bits is None:
        return (values >> 8).astype(np.uint8)
    return stretched(values, bits) if page.bits == DEEP else scaled(values, page.bits)


def _painted(values: np.ndarray, page: Page) -> np.ndarray:
    table = np.array(page.values(320), np.uint16)
    if page.kind != UNSIGNED or len(table) != 3 << page.bits:
        raise ValueError("it is a damaged TIFF: its palette does not fit its pixels")
    return colours_in_eight_bits(table.reshape(3, -1).T)[values]


def _upon_black(picture: np.ndarray, values: np.ndarray, page: Page) -> np.ndarray:
    """Lays transparency on black; premultiplied colours lie on it already."""
    if _TRANSPARENCY not in page.extra or _PREMULTIPLIED in page.extra:
        return picture
    place = _COLOURS[page.photometric] + page.extra.index(_TRANSPARENCY)
    alpha = values[..., place, None]
    eight = squeezed(alpha) if page.kind != UNSIGNED or page.bits > DEEP else scaled(alpha, page.bits)
    return upon_black(picture, eight)
