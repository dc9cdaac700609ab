"""An image file becomes RGB uint8. How each format is treated: docs/images.md."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from lmd.data.decode import dicom
from lmd.data.decode.bounds import beyond_all
from lmd.data.decode.files import open_file, printable
from lmd.data.decode.kinds import HEAD, beginning, early_end, told, what_else
from lmd.data.decode.levels import few_bits
from lmd.data.decode.pictures import Ask, Picture, read_picture
from lmd.errors import DataError
from lmd.parallel import Steps, in_threads, quiet

_log = logging.getLogger(__name__)


def decode(
    path: Path, least: int | None = None, frame: int | None = None, bits: int | None = None
) -> np.ndarray:
    """Returns an image as RGB uint8 [H, W, 3], upright as its EXIF tag says.

    `least` allows a JPEG to be decoded at a fraction of its size, no side smaller than that. `frame` (from 1)
    chooses among the frames or pages of a file that has several. `bits` says how many bits 16-bit images use.

    Raises:
        DataError: the file is missing, unreadable, truncated or too large, or has several frames and `frame`
            does not choose one, or has values of more than `bits` bits.
    """
    return _read(path, Ask(least, frame, bits), lambda picture: np.asarray(picture.image))


def decode_small(
    path: Path, size: int, crop: str = "none", frame: int | None = None, bits: int | None = None
) -> np.ndarray:
    """Returns an image as a network takes it: RGB uint8 [3, size, size], decoded no finer than that needs.

    The same pixels as `resize(decode(path, 2 * size, frame, bits), size, crop)`, without the array between.

    Raises:
        DataError: as for `decode`.
    """

    def small(picture: Picture) -> np.ndarray:
        return np.asarray(_resized(picture.image, size, crop))

    return _read(path, Ask(2 * size, frame, bits), small).transpose(2, 0, 1)


def examine(
    path: Path, least: int, frame: int | None = None, bits: int | None = None
) -> tuple[np.ndarray, int]:
    """Returns what `decode` does, and the largest value of an image with 16 bits; 0 of others.

    Raises:
        DataError: as for `decode`.
    """
    return _read(path, Ask(least, frame, bits), lambda picture: (np.asarray(picture.image), picture.top))


def _read(path: Path, ask: Ask, use: Callable[[Picture], Any]) -> Any:
    """What `use` makes of the image in a file."""
    name, head = printable(path), b""
    try:
        with open_file(path) as file:
            head = file.read(HEAD)
            file.seek(0)
            if head[12:16] == b"CgBI":  # Pillow begins to read it.
                raise UnidentifiedImageError
            if dicom.is_dicom(head):
                return use(Picture(Image.fromarray(dicom.read(path, name, ask.frame))))
            return read_picture(file, head, path, name, ask, use)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"image {name} {what_else(beginning(path))}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise beyond_all(name) from error
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files.
        reason = told(error)[:160] or type(error).__name__
        raise DataError(f"image {name} cannot be read: {reason}{early_end(path)}") from error


def resize(image: np.ndarray, size: int, crop: str = "none") -> np.ndarray:
    """Returns [size, size, 3]: squashed as in the paper ("none"), or cut to its middle square ("center")."""
    return np.asarray(_resized(Image.fromarray(image), size, crop))


def _resized(picture: Image.Image, size: int, crop: str) -> Image.Image:
    if crop == "center":
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side))
    return picture.resize((size, size), Image.Resampling.BILINEAR)


def verify(
    paths: list[Path], progress: Steps = quiet, frame: int | None = None, bits: int | None = None
) -> dict[Path, str]:
    """Returns the files that cannot be decoded, each with the reason.

    It also logs when the 16-bit images use fewer bits, and `bits` does not say so.
    """
    ask = Ask(64, frame, bits)  # Reads all of a JPEG, and computes less of it.

    def result(path: Path) -> str | int:
        try:
            return _read(path, ask, lambda picture: picture.top)
        except DataError as error:
            return str(error)

    results = in_threads(result, paths, progress)
    said = few_bits(max((top for top in results if isinstance(top, int)), default=0))
    if said is not None and bits is None:
        _log.warning(said)
    return {path: reason for path, reason in zip(paths, results, strict=True) if isinstance(reason, str)}
