"""A DICOM file becomes RGB uint8, as a viewer would show it. Needs the extra `dicom`.

Only the tags in `_TAGS` are read: they say how the pixels are to be shown. Names, numbers and dates of
patients are not read. Messages tell how many pixels and frames a file has and how it is compressed, and
quote nothing else of it.
"""

from __future__ import annotations

import logging
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lmd.data.decode.dicom_marks import is_bare
from lmd.data.decode.dicom_marks import is_dicom as is_dicom
from lmd.data.decode.dicom_worker import decode_apart
from lmd.data.decode.palette import COLOURS, painted
from lmd.errors import DataError, how_to_install

if TYPE_CHECKING:
    from pydicom import Dataset as Header
    from pydicom.uid import UID

_TAGS = [
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "PixelRepresentation", "PixelPaddingValue",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
    "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    *(f"{colour}PaletteColorLookupTable{part}" for colour in COLOURS for part in ("Descriptor", "Data")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in COLOURS),
]  # fmt: skip
_OF_A_FRAME = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
_PLUGINS = ("pylibjpeg", "pillow", "pydicom")  # The first that can; gdcm where none of them can.
_INSTALL = how_to_install("dicom")


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


def read(path: Path, name: str, frame: int | None, max_pixels: int) -> np.ndarray:
    """Returns the image of a DICOM file as uint8 [H, W, 3]; `name` is the file's in messages.

    Raises:
        DataError: the file is damaged, holds no image or several, or needs what is not installed.
    """
    _require(name)
    try:
        header = _header(path, name)
        width, height = int(header.get("Columns", 0)), int(header.get("Rows", 0))
        if not width * height:
            raise DataError(f"image {name} is a DICOM file without an image in it")
        if width * height > max_pixels:
            raise DataError(f"image {name} is too large: {width} x {height} pixels")
        position = choose_frame(int(header.get("NumberOfFrames") or 1), name, frame)
        _refuse_cut(path, name, header)
        _add_frame(header, position)
        return _shown(_stored(path, position, header), header)
    except DataError:
        raise
    except Exception as error:  # Its text may quote the file, and so a patient: only its kind is told.
        kind = type(error).__name__
        raise DataError(f"image {name} cannot be read: damaged DICOM ({kind})") from None


def _require(name: str) -> None:
    try:
        _set_up()
    except ImportError as error:
        raise DataError(f"image {name} is DICOM, which needs more to be installed: {_INSTALL}") from error


@cache
def _set_up() -> None:
    """Silences the decoders' warnings: they quote the file, and so perhaps a patient."""
    import pydicom

    for name in ("pydicom", "pylibjpeg", "openjpeg"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="pydicom")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def _header(path: Path, name: str) -> Header:
    """The tags of `_TAGS`, once it is sure that the pixels can be decoded; the compression is among them."""
    from pydicom import dcmread, uid
    from pydicom.filereader import read_file_meta_info
    from pydicom.pixels import get_decoder

    with path.open("rb") as file:
        head = file.read(2048)
    bare = is_bare(head)
    given = None if bare else read_file_meta_info(path).get("TransferSyntaxUID", uid.ImplicitVRLittleEndian)
    if given == uid.DeflatedExplicitVRLittleEndian or (
        bare and str(uid.DeflatedExplicitVRLittleEndian).encode() in head
    ):
        # pydicom inflates it whole, bombs too.
        raise DataError(f"image {name} is a deflated DICOM file; save it uncompressed or as JPEG 2000")
    header = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS), force=bare)
    syntax = uid.UID(header.file_meta.get("TransferSyntaxUID") or given or _encoding(header))
    header.file_meta.TransferSyntaxUID = syntax
    try:
        ready = get_decoder(syntax).is_available
    except NotImplementedError as error:
        raise DataError(f"image {name} is compressed in a way that is not supported ({syntax})") from error
    if not ready:
        raise DataError(f"image {name} is compressed and needs more to be installed: {_INSTALL}")
    return header


def _encoding(header: Header) -> UID:
    """How a file is written that does not say it."""
    from pydicom import uid

    implicit, little = header.original_encoding
    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian


def _refuse_cut(path: Path, name: str, header: Header) -> None:
    """Refuses a file without compression that has fewer bytes than its pixels need."""
    if header.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    halved = header.get("PhotometricInterpretation") == "YBR_FULL_422"
    samples = 2 if halved else int(header.get("SamplesPerPixel") or 1)
    pixels = header.Rows * header.Columns * int(header.get("NumberOfFrames") or 1)
    needed, size = pixels * samples * int(header.get("BitsAllocated") or 8) // 8, path.stat().st_size
    if size < needed:
        raise DataError(f"image {name} ends early: {size:,} of more than {needed:,} bytes are there")


def _add_frame(header: Header, position: int) -> None:
    """Lays what an enhanced file says of all frames, and of this one, over the rest of the header."""
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])[:1]
    own = list(header.get("PerFrameFunctionalGroupsSequence") or [])[position : position + 1]
    for groups in [*shared, *own]:
        for part in _OF_A_FRAME:
            for item in list(groups.get(part) or [])[:1]:
                header.update(item)


def _stored(path: Path, position: int, header: Header) -> np.ndarray:
    """The pixels of a frame as they are stored, YBR colour as RGB."""
    from pydicom import dcmread
    from pydicom.pixels import get_decoder, pixel_array

    syntax = header.file_meta.TransferSyntaxUID
    plugins = get_decoder(syntax).available_plugins
    source: Path | Header = path
    if len(header.file_meta) == 1:  # The file says nothing of it: pydicom is told what was found.
        source = dcmread(path, force=True)
        source.file_meta.TransferSyntaxUID = syntax
    plugin = next((name for name in _PLUGINS if name in plugins), "")
    try:
        if plugins != ("gdcm",):
            return pixel_array(source, index=position, decoding_plugin=plugin)
    except Exception:  # gdcm reads some kinds that the others do not.
        if "gdcm" not in plugins:
            raise
    return decode_apart(path, position)


def _shown(stored: np.ndarray, header: Header) -> np.ndarray:
    if header.PhotometricInterpretation == "PALETTE COLOR":
        return painted(stored, header)
    if stored.ndim == 3:
        return np.ascontiguousarray(stored[..., :3] >> max(header.BitsStored - 8, 0)).astype(np.uint8)
    grey = _windowed(stored, header)
    if header.PhotometricInterpretation == "MONOCHROME1":  # Its lowest value is white.
        grey = 1 - grey
    return np.repeat((grey * 255 + 0.5).astype(np.uint8)[..., None], 3, axis=2)


def _windowed(stored: np.ndarray, header: Header) -> np.ndarray:
    """Grey values from 0 to 1, through the file's modality and VOI tables.

    A file without a window is shown from its lowest to its highest value, and one of 8 bits as it is.
    """
    from pydicom.pixels import apply_modality_lut, apply_voi

    values = apply_modality_lut(stored, header)
    if header.get("VOILUTSequence"):
        bits = header.VOILUTSequence[0].LUTDescriptor[2]
        return apply_voi(values, header) / (2.0**bits - 1)
    window = _window(header, stored.dtype.kind == "f")
    if window is not None:
        return _through_window(values.astype(np.float64), *window)
    if header.BitsStored <= 8 and header.PixelRepresentation == 0 and np.array_equal(values, stored):
        return values / (2.0**header.BitsStored - 1)
    inside = values[stored != header.PixelPaddingValue] if "PixelPaddingValue" in header else values
    low, high = (inside if inside.size else values).min(), (inside if inside.size else values).max()
    return ((values - low) / max(float(high) - float(low), 1e-12)).clip(0, 1)


def _window(header: Header, real: bool) -> tuple[float, float, str] | None:
    """The centre, width and form of the file's (first) window; None where there is none that can be used.

    The linear window begins half a whole number lower. Real numbers have no such steps.
    """
    centre, width = _first(header.get("WindowCenter")), _first(header.get("WindowWidth"))
    if centre is None or width is None:
        return None
    form = str(header.get("VOILUTFunction") or "LINEAR").upper()
    form = "LINEAR_EXACT" if real and form == "LINEAR" else form
    least = 1.0 if form == "LINEAR" else 0.0
    return (float(centre), float(width), form) if float(width) >= least and float(width) > 0 else None


def _first(value: Any) -> Any:
    """The first of several values; None for none."""
    if value is None or isinstance(value, int | float):
        return value
    return next(iter(value), None) if hasattr(value, "__iter__") and not isinstance(value, str) else value


def _through_window(values: np.ndarray, centre: float, width: float, form: str) -> np.ndarray:
    """DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3, scaled to 0 and 1."""
    if form == "SIGMOID":
        return 1 / (1 + np.exp((-4 * (values - centre) / width).clip(-700, 700)))
    if form == "LINEAR":
        centre, width = centre - 0.5, width - 1
    return ((values - centre) / max(width, 1e-12) + 0.5).clip(0, 1)
