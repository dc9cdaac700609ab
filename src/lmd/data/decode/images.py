"""An image file becomes RGB uint8. How each format is treated: docs/images.md."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from lmd.data.decode import dicom
from lmd.data.decode.files import open_file, printable
from lmd.errors import DataError
from lmd.parallel import Steps, in_threads, quiet

MAX_PIXELS = 300_000_000  # A whole-slide tile fits; a decompression bomb does not.
_LARGE_PIXELS = 40_000_000  # Larger images are decoded one at a time: many at once would fill the memory.
_LARGE = threading.Lock()
# Other formats are refused, whatever a file's name: some of Pillow's readers start other programs.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SCALED = ((np.arange(65536) * 255 + 32767) // 65535).astype(np.uint8)  # 16 bits -> 8, rounded.

# Pillow raises an error above twice this, and warns above this; `_read_picture` raises our error there.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.filterwarnings("ignore", module=r"PIL\.")  # About damaged metadata, not about pixels.


def decode(path: Path, least: int | None = None, frame: int | None = None) -> np.ndarray:
    """Returns an image as RGB uint8 [H, W, 3], upright as its EXIF tag says.

    `least` allows a JPEG to be decoded at a fraction of its size, no side smaller than that. `frame` (from 1)
    chooses among the frames or pages of a file that has several.

    Raises:
        DataError: the file is missing, unreadable, truncated or too large, or has several frames and `frame`
            does not choose one.
    """
    return _read(path, least, frame, np.asarray)


def decode_small(path: Path, size: int, crop: str = "none", frame: int | None = None) -> np.ndarray:
    """Returns an image as a network takes it: RGB uint8 [3, size, size], decoded no finer than that needs.

    The same pixels as `resize(decode(path, 2 * size, frame), size, crop)`, without the array in between.

    Raises:
        DataError: as for `decode`.
    """

    def small(picture: Image.Image) -> np.ndarray:
        return np.asarray(_resized(picture, size, crop))

    return _read(path, 2 * size, frame, small).transpose(2, 0, 1)


def _read(
    path: Path, least: int | None, frame: int | None, pixels: Callable[[Image.Image], np.ndarray]
) -> np.ndarray:
    """What `pixels` makes of the image in a file."""
    name, head = printable(path), b""
    try:
        with open_file(path) as file:
            head = file.read(512)
            file.seek(0)
            if dicom.is_dicom(head):
                return pixels(Image.fromarray(dicom.read(path, name, frame, MAX_PIXELS)))
            return _read_picture(file, name, least, frame, pixels)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"image {name} {_what_else(head)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"image {name} is too large (at most {MAX_PIXELS:,} pixels)") from error
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files.
        raise DataError(f"image {name} cannot be read: {' '.join(str(error).split())[:120]}") from error


def _what_else(head: bytes) -> str:
    """What is to be said of a file that is no image."""
    if b"<html" in head.lower() or b"<!doctype html" in head.lower():
        return "is a web page, not an image; its download may have failed"
    return "is not an image in a known format"


def _read_picture(
    file: BinaryIO,
    name: str,
    least: int | None,
    frame: int | None,
    pixels: Callable[[Image.Image], np.ndarray],
) -> np.ndarray:
    with Image.open(file, formats=_FORMATS) as image:
        _seek(image, name, frame)
        if image.width * image.height > MAX_PIXELS:
            raise DataError(f"image {name} is too large: {image.width} x {image.height} pixels")
        if least is not None:
            image.draft("RGB", (least, least))
        with _LARGE if image.width * image.height > _LARGE_PIXELS else nullcontext():
            image.load()
            return pixels(_to_rgb(_upright(image)))


def _seek(image: Image.Image, name: str, frame: int | None) -> None:
    """Goes to the chosen frame or page."""
    pages = _pages(image)
    position = dicom.choose_frame(len(pages), name, frame)
    if len(pages) > 1 or pages[0] > 0:
        image.seek(pages[position])


def _pages(image: Image.Image) -> list[int]:
    """The positions of a file's frames or pages; previews that cameras and scanners add do not count."""
    count = getattr(image, "n_frames", 1)
    if image.format != "TIFF" or count == 1:
        return [0] if image.format == "MPO" else list(range(count))
    kinds: list[int] = []
    for page in range(count):
        image.seek(page)
        kinds.append(image.tag_v2.get(254, 0))  # type: ignore[missing-attribute]
    image.seek(0)
    return [page for page, kind in enumerate(kinds) if not kind & 0b101] or [0]  # 1 a preview, 4 a mask.


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF tag says; a tag that cannot be read says nothing."""
    try:
        turn = _TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:
        return image
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB from any mode: 16-bit grey is scaled to 8 bits, transparency is laid on black."""
    if image.mode.startswith("I;16"):
        return Image.fromarray(_SCALED[np.asarray(image)]).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_squeezed(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    return image.convert("RGB")


def _squeezed(values: np.ndarray) -> np.ndarray:
    """32-bit values in 8 bits: from the first of 0-1, 0-255 and 0-65535 that holds all, or their range."""
    if not np.isfinite(values).all():
        raise ValueError("it has pixels that are not numbers")
    low, high = float(values.min()), float(values.max())
    tops = (1.0, 255.0, 65535.0) if values.dtype.kind == "f" else (255.0, 65535.0)
    if low >= 0:
        low, high = 0.0, next((top for top in tops if high <= top), high)
    return ((values - low) * (255.0 / max(high - low, 1e-12)) + 0.5).astype(np.uint8)


def resize(image: np.ndarray, size: int, crop: str = "none") -> np.ndarray:
    """Returns [size, size, 3]: squashed as in the paper ("none"), or cut to its middle square ("center")."""
    return np.asarray(_resized(Image.fromarray(image), size, crop))


def _resized(picture: Image.Image, size: int, crop: str) -> Image.Image:
    if crop == "center":
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    return picture.resize((size, size), Image.Resampling.BILINEAR)


def verify(paths: list[Path], progress: Steps = quiet, frame: int | None = None) -> dict[Path, str]:
    """Returns the files that cannot be decoded, each with the reason."""

    def problem(path: Path) -> str | None:
        try:
            decode(path, least=64, frame=frame)  # Reads all of a JPEG, and computes less of it.
        except DataError as error:
            return str(error)
        return None

    reasons = in_threads(problem, paths, progress)
    return {path: reason for path, reason in zip(paths, reasons, strict=True) if reason is not None}
