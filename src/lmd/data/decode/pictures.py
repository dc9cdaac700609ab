"""An open file becomes a picture in RGB: by Pillow, or by tiff.py where Pillow would be wrong."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError, _imaging, features

from lmd.data.decode import deep_colours, dicom, jpeg2000, tiff, tiff_pages
from lmd.data.decode.bounds import MAX_OF_JPEG, check_size, in_turn
from lmd.data.decode.kinds import told
from lmd.data.decode.levels import DEEP, squeezed, stretched, top_of_wide, without

# Other formats are refused, whatever a file's name: some of Pillow's readers start other programs.
_MARKED = ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000", "PPM"]
_MARKED += ["AVIF"] if "avif" in features.modules and features.check("avif") else []
# These have no mark in the file, so that the name must say it.
_NAMED = {".tga": "TGA", ".icb": "TGA", ".vda": "TGA", ".vst": "TGA", ".dib": "DIB"}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow raises an error above twice this, and warns above this; `read_picture` raises our error there.
Image.MAX_IMAGE_PIXELS = MAX_OF_JPEG
warnings.filterwarnings("ignore", module=r"PIL\.")  # About damaged metadata, not about pixels.
with suppress(OSError, AttributeError):  # libtiff would print lines of its own beside our one.
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


class Ask(NamedTuple):
    """What is wanted of a file."""

    least: int | None = None
    """a JPEG may be decoded at a fraction of its size, no side smaller than that"""
    frame: int | None = None
    """which frame or page of several, from 1"""
    bits: int | None = None
    """how many bits the 16-bit images use; None: all"""


class Picture(NamedTuple):
    """A picture in RGB."""

    image: Image.Image
    top: int = 0
    """the largest value of one that is stored with 16 bits"""


def formats(path: Path) -> list[str]:
    """Returns the formats that a file may have, as Pillow names them; its content says which it is."""
    named = _NAMED.get(path.suffix.lower())
    return _MARKED if named is None else [*_MARKED, named]


def read_picture(
    file: BinaryIO, head: bytes, path: Path, name: str, ask: Ask, use: Callable[[Picture], Any]
) -> Any:
    """Returns what `use` makes of the picture in a file that begins with `head` and is called `name`.

    Raises:
        DataError: the picture is too large, or a frame must be chosen.
        Exception: whatever Pillow raises for files that are damaged or not known.
    """
    if tiff_pages.is_tiff(head):
        return _read_tiff(file, name, ask, use)
    with Image.open(file, formats=formats(path)) as image:
        _check_jpeg(image, name)
        if ask.least is not None:
            image.draft("RGB", (ask.least, ask.least))
        check_size(image.width, image.height, name, _depth_in_bytes(image, head))
        _seek(image, name, ask.frame)
        with in_turn(image.width * image.height):
            return use(_shown(file, image, head, name, ask))


def _check_jpeg(image: Image.Image, name: str) -> None:
    """A JPEG may be decoded at a fraction of its size; a progressive one is in memory as a whole."""
    if image.format in ("JPEG", "MPO") and not image.info.get("progressive"):
        check_size(image.width, image.height, name, most=MAX_OF_JPEG)
    else:
        check_size(image.width, image.height, name, 1)


def _depth_in_bytes(image: Image.Image, head: bytes) -> float:
    """The bytes of a pixel; a palette with transparency takes as much as colours with it."""
    if image.format in ("WEBP", "AVIF"):  # Their decoders keep copies of the whole picture.
        return 6
    bands = 4 if "transparency" in image.info else len(image.getbands())
    deep = (image.format == "PNG" and head[24] == DEEP and bands > 1) or image.mode in ("I", "F")
    return bands * (2 if deep or image.mode.startswith("I;16") else 1)


def _shown(file: BinaryIO, image: Image.Image, head: bytes, name: str, ask: Ask) -> Picture:
    if image.format == "JPEG2000":
        return _of_jpeg_2000(file, image, name, ask.bits)
    image.load()
    colours = deep_colours.whole_colours(file, image, head)
    if colours is None:
        return _to_rgb(_upright(image), ask.bits, _depth(file, image, head))
    top = int(colours[..., :3].max() if colours.shape[2] > 2 else colours[..., 0].max())
    if ask.bits is None:  # The upper bits, as of other files.
        return Picture(_to_rgb(_upright(image), None, DEEP).image, top)
    shown = deep_colours.stretched_colours(colours, ask.bits, image.info.get("transparency"))
    return Picture(_upright(image, Image.fromarray(shown)), top)


def _of_jpeg_2000(file: BinaryIO, image: Image.Image, name: str, bits: int | None) -> Picture:
    place = file.tell()
    found = jpeg2000.samples_of(file)
    file.seek(place)
    if found is None:
        raise ValueError("it is a JPEG 2000 file without a picture")
    if found.size != image.size:  # What is said in its box, and what would be decoded.
        raise ValueError("it is a damaged JPEG 2000: its two sizes differ")
    check_size(*found.size, name, 2 * len(found.bits))  # openjpeg needs four bytes for each sample.
    if not jpeg2000.suits_pillow(found, image.mode):
        shown, top = jpeg2000.deep(file, found, image, name, bits)
        return Picture(_upright(image, Image.fromarray(shown)), top)
    image.load()
    return _to_rgb(_upright(image, jpeg2000.widened(image, found)), bits, found.bits[0])


def _read_tiff(file: BinaryIO, name: str, ask: Ask, use: Callable[[Picture], Any]) -> Any:
    found = tiff_pages.pages(file)
    page = found[dicom.choose_frame(len(found), name, ask.frame)]
    check_size(page.width, page.height, name, page.samples * page.bits / 8)
    tiff.check(page, len(found))
    tiff.check_parts(file, page)
    if not tiff.suits_pillow(page):
        with in_turn(page.width * page.height):
            image, top = tiff.shown(file, page, ask.bits)
            return use(Picture(_turned(image, page.value(274, 1)), top))
    with in_turn(page.width * page.height):
        return use(_by_pillow(file, page, ask.bits))


def _by_pillow(file: BinaryIO, page: tiff_pages.Page, bits: int | None) -> Picture:
    """A TIFF page that Pillow reads right; of JPEG with 12 bits it gives the values themselves."""
    file.seek(0)
    try:
        with Image.open(file, formats=("TIFF",)) as image:
            if page.number:
                image.seek(page.number)
            image.load()
            if image.mode.startswith("I;16") and page.bits < DEEP:
                return Picture(_turned(Image.fromarray(tiff.narrowed(image, page)), page.value(274, 1)))
            return _to_rgb(_upright(image), bits, page.bits)
    except UnidentifiedImageError as error:
        raise ValueError(f"it is {page.words} of a kind that is not read; save it as grey or RGB") from error
    except (OSError, SyntaxError) as error:
        raise ValueError(f"it is {page.words} that is damaged or not supported ({told(error)})") from error


def _seek(image: Image.Image, name: str, frame: int | None) -> None:
    """Goes to the chosen frame; the previews of cameras do not count."""
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    position = dicom.choose_frame(count, name, frame)
    if count > 1:
        image.seek(position)


def _upright(image: Image.Image, shown: Image.Image | None = None) -> Image.Image:
    """The image, or what is shown of it, turned as its EXIF tag says; a damaged tag says nothing."""
    shown = image if shown is None else shown
    try:
        tag = image.getexif().get(0x0112, 1)
    except Exception:
        return shown
    return _turned(shown, tag)


def _turned(image: Image.Image, tag: Any) -> Image.Image:
    turn = _TURNS.get(tag)
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image, bits: int | None, depth: int) -> Picture:
    """RGB from any mode: 16-bit grey is scaled to 8 bits, transparency is laid on black."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return _of_grey(image, bits, depth)
    clear = image.info.get("transparency")
    if image.format == "PNG" and image.mode in ("1", "L") and depth < 8 and isinstance(clear, int):
        return _of_few_levels(image, depth)
    if bits is not None and depth == DEEP and image.format != "TIFF":
        raise ValueError(
            "its colours have 16 bits, of which --bits cannot stretch the lower ones; save it as TIFF"
        )
    if image.mode in ("I", "F"):
        values = np.asarray(image)
        return Picture(Image.fromarray(squeezed(values, bits)).convert("RGB"), top_of_wide(values))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return Picture(_upon_black(image.convert("RGBA")))
    return Picture(image.convert("RGB"))


def _upon_black(image: Image.Image) -> Image.Image:
    """RGB on black; where all pixels are transparent, the writer of the file left their alpha empty."""
    if image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")


def _of_grey(image: Image.Image, bits: int | None, depth: int) -> Picture:
    """RGB from 16-bit grey. Of a file that says how many bits it uses, Pillow has stretched them."""
    values = np.asarray(image).astype(np.uint16, copy=False)
    deep = depth == DEEP
    grey = stretched(values, bits if deep else None)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey = without(grey, values == clear)
    return Picture(Image.fromarray(grey).convert("RGB"), int(values.max()) if deep else 0)


def _of_few_levels(image: Image.Image, depth: int) -> Picture:
    """RGB from a grey PNG of fewer than 8 bits with a transparent level, which Pillow does not scale.

    Of a single bit Pillow has scaled it.
    """
    clear = image.info.pop("transparency") * (1 if depth == 1 else 255 // (2**depth - 1))
    grey = np.array(image.convert("L"))
    return Picture(Image.fromarray(without(grey, grey == clear)).convert("RGB"))


def _depth(file: BinaryIO, image: Image.Image, head: bytes) -> int:
    """The bits of a sample, as a PNG or PNM says them; 8 of other files."""
    if image.format == "PNG":
        return head[24]
    top = deep_colours.pnm_top(file) if image.format == "PPM" else 0
    return top.bit_length() if top in (255, 65535) else 8
