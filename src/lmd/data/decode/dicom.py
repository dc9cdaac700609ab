"""A DICOM file becomes RGB uint8, as a viewer would show it. Needs the extra `dicom`.

Only the tags in `dicom_header.TAGS` are read: they say how the pixels are to be shown. Names, numbers and
dates of patients are not read. Messages tell how many pixels and frames a file has, how it is compressed and
which of these tags is at fault. They quote nothing else of it.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lmd.data.decode.bounds import check_size, in_turn
from lmd.data.decode.dicom_frames import check_frame
from lmd.data.decode.dicom_grey import grey_of
from lmd.data.decode.dicom_header import OF_JPEG_2000, Found, RefusedError, check, found_in, number
from lmd.data.decode.dicom_marks import is_dicom as is_dicom
from lmd.data.decode.dicom_worker import decode_apart
from lmd.data.decode.levels import scaled
from lmd.data.decode.palette import painted
from lmd.errors import DataError
from lmd.extras import how_to_install

if TYPE_CHECKING:
    from pydicom import Dataset as Header

_OF_A_FRAME = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
RLE = "1.2.840.10008.1.2.5"
_PLUGINS = ("pylibjpeg", "pillow", "pydicom")  # The first that can; gdcm where none of them can.


def choose_frame(count: int, name: str, frame: int | None) -> int:
    """Returns the position of the chosen frame, from 0; a file with a single one needs no choice.

    Raises:
        DataError: there are several and none is chosen, or not so many.
    """
    if count == 1:
        return 0
    if frame is None:
        raise DataError(f"image {name} has {count} frames, and one is needed: choose it with --frame N")
    if not 1 <= frame <= count:
        raise DataError(f"image {name} has {count} frames; there is no frame {frame}")
    return frame - 1


def read(path: Path, name: str, frame: int | None) -> np.ndarray:
    """Returns the image of a DICOM file as uint8 [H, W, 3]; `name` is the file's in messages.

    Raises:
        DataError: the file is damaged, holds no image or several, or needs what is not installed.
    """
    _require(name)
    try:
        found = found_in(path)
        header = found.tags
        width, height = number(header, "Columns"), number(header, "Rows")
        check_size(width, height, name, _depth(header))
        position = choose_frame(number(header, "NumberOfFrames", 1) or 1, name, frame)
        _add_frame(header, position)
        check(found)
        _refuse_cut(path, header)
        check_frame(path, position, found)
        with in_turn(width * height):
            return _shown(_stored(path, position, found), header)
    except DataError:
        raise
    except RefusedError as error:
        raise DataError(f"image {name} {error}") from None
    except Exception as error:  # Its text may quote the file, and so a patient: only its kind is told.
        kind = type(error).__name__
        raise DataError(f"image {name} cannot be read: damaged DICOM ({kind})") from None


def _depth(header: Header) -> int:
    """The bytes of a pixel; those of more than 16 bits become real numbers, and so several times as many."""
    allocated = number(header, "BitsAllocated", 8)
    bytes_of_sample = 1 if allocated <= 8 else 2 if allocated <= 16 else 16
    if header.file_meta.TransferSyntaxUID.startswith(OF_JPEG_2000):
        bytes_of_sample = 2  # openjpeg needs four bytes for each.
    return max(1, number(header, "SamplesPerPixel", 1)) * bytes_of_sample


def _require(name: str) -> None:
    try:
        _set_up()
    except ImportError:
        raise DataError(
            f"image {name} is DICOM, which needs more to be installed: {how_to_install('dicom')}"
        ) from None


@cache
def _set_up() -> None:
    """Silences the decoders' warnings: they quote the file, and so perhaps a patient."""
    import pydicom

    for name in ("pydicom", "pylibjpeg", "openjpeg"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="pydicom")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def _refuse_cut(path: Path, header: Header) -> None:
    """Refuses a file without compression that has fewer bytes than its pixels need."""
    if header.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    halved = header.get("PhotometricInterpretation") == "YBR_FULL_422"
    samples = 2 if halved else int(header.get("SamplesPerPixel") or 1)
    pixels = header.Rows * header.Columns * int(header.get("NumberOfFrames") or 1)
    needed, size = pixels * samples * int(header.get("BitsAllocated") or 8) // 8, path.stat().st_size
    if size < needed:
        raise RefusedError(f"ends early: {size:,} of more than {needed:,} bytes are there")


def _add_frame(header: Header, position: int) -> None:
    """Lays what an enhanced file says of all frames, and of this one, over the rest of the header."""
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])[:1]
    own = list(header.get("PerFrameFunctionalGroupsSequence") or [])[position : position + 1]
    for groups in [*shared, *own]:
        for part in _OF_A_FRAME:
            for item in list(groups.get(part) or [])[:1]:
                header.update(item)


def _stored(path: Path, position: int, found: Found) -> np.ndarray:
    """The pixels of a frame as they are stored, YBR colour as RGB."""
    from pydicom import dcmread
    from pydicom.pixels import get_decoder, pixel_array

    syntax = found.tags.file_meta.TransferSyntaxUID
    plugins = get_decoder(syntax).available_plugins
    source: Path | Header = path
    if len(found.tags.file_meta) == 1 or not found.as_said:
        # The file does not say how it is written, or says it wrongly: pydicom is told what was found.
        source = dcmread(path, force=True)
        source.file_meta.TransferSyntaxUID = syntax
    plugin = next((name for name in _PLUGINS if name in plugins), "")
    if syntax == RLE:  # It panics on some damaged files, in several lines and past any "except Exception".
        return decode_apart(path, position, "pylibjpeg" if "pylibjpeg" in plugins else "pydicom")
    try:
        if plugins != ("gdcm",):
            with _opened(source) as given:
                return pixel_array(given, index=position, decoding_plugin=plugin)
    except Exception:  # gdcm reads some kinds that the others do not.
        if "gdcm" not in plugins:
            raise
    return decode_apart(path, position)


def _opened(source: Path | Header) -> AbstractContextManager[Any]:
    """What pydicom reads from: of a path the open file, because memory that has a path cannot be resolved."""
    return source.open("rb") if isinstance(source, Path) else nullcontext(source)


def _shown(stored: np.ndarray, header: Header) -> np.ndarray:
    if header.PhotometricInterpretation == "PALETTE COLOR":
        return painted(stored, header)
    if stored.ndim == 2:
        return np.repeat(grey_of(stored, header)[..., None], 3, axis=2)
    if header.BitsStored < 8:
        return scaled(stored, header.BitsStored)
    return np.ascontiguousarray(stored >> (header.BitsStored - 8)).astype(np.uint8)
