"""What a DICOM file says of its pixels: the tags that are read, and which of their values can be shown.

Messages name tags. Of values they quote only those that the standard has; others could name a patient.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lmd.data.decode.dicom_marks import is_bare
from lmd.data.decode.palette import COLOURS
from lmd.extras import how_to_install

if TYPE_CHECKING:
    from pydicom import Dataset as Header
    from pydicom.uid import UID

TAGS = [
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "Rows", "Columns", "NumberOfFrames",
    "SamplesPerPixel", "PlanarConfiguration", "PhotometricInterpretation", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "PresentationLUTShape",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "WindowWidth",
    "VOILUTFunction", "VOILUTSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    *(f"{colour}PaletteColorLookupTable{part}" for colour in COLOURS for part in ("Descriptor", "Data")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in COLOURS),
]  # fmt: skip
_READ = {
    "MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1,
    "RGB": 3, "YBR_FULL": 3, "YBR_FULL_422": 3, "YBR_RCT": 3, "YBR_ICT": 3,
}  # fmt: skip
_NOT_READ = ("HSV", "ARGB", "CMYK", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "XYB")
OF_JPEG_2000 = ("1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.20")  # So begin its transfer syntaxes.
_NAMES = {
    "1.2.840.113619.5.2": "GE's private form, ",
    "1.2.840.10008.1.20": "Papyrus 3, ",
    "1.2.840.10008.1.2.4.110": "JPEG XL, ",
    "1.2.840.10008.1.2.4.111": "JPEG XL, ",
    "1.2.840.10008.1.2.4.112": "JPEG XL, ",
    "1.2.840.10008.1.2.7.1": "SMPTE video, ",
    "1.2.840.10008.1.2.7.2": "SMPTE video, ",
}
# Uncompressed and RLE: a compressed picture has its own bits.
_HAVE_HIGH_BITS = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5")
_PIXELS = {0x7FE00010: False, 0x7FE00008: True, 0x7FE00009: True}  # Whether they are real numbers.


class RefusedError(ValueError):
    """What is said of a file that is not shown, as the end of a sentence; it quotes no patient."""


class Found(NamedTuple):
    """The tags of a file, whether its pixels are real numbers, and whether it says its encoding rightly."""

    tags: Header
    real: bool
    as_said: bool
    place: int  # Where the value of the pixels begins.


def damaged(what: str) -> RefusedError:
    """Returns what is said of a damaged file."""
    return RefusedError(f"cannot be read: damaged DICOM ({what})")


def found_in(path: Path) -> Found:
    """Returns the tags of `TAGS`, once it is sure that the pixels can be decoded.

    Raises:
        RefusedError: the file is compressed in a way that is not read, or has no pixels.
    """
    from pydicom import dcmread, uid

    with path.open("rb") as file:
        head = file.read(2048)
        bare, given = is_bare(head), _given(path, head)
        file.seek(0)
        header = dcmread(file, stop_before_pixels=True, specific_tags=list(TAGS), force=bare)
        place, mark = file.tell(), file.read(8)
    syntax = uid.UID(header.file_meta.get("TransferSyntaxUID") or given or _encoding(header))
    header.file_meta.TransferSyntaxUID = syntax
    _check_decoder(syntax)
    if not number(header, "Columns", 0) * number(header, "Rows", 0):
        raise RefusedError(_without_size(path))
    real = _PIXELS.get(_tag(mark, header))
    if real is None:
        raise RefusedError("is a DICOM file that has no pixel data; it may end early")
    # No length is odd, and so none looks like the letter O with which the forms of pixels begin.
    implicit = mark[4:6] not in (b"OB", b"OW", b"OF", b"OD", b"UN")
    return Found(header, real, implicit == syntax.is_implicit_VR, place + (8 if implicit else 12))


def _without_size(path: Path) -> str:
    """What is said of a file without the tag Rows; it may be there in the other order of bytes."""
    with path.open("rb") as file:
        head = file.read(2**20)
    if b"\0\x28\0\x10US" in head or b"\x28\0\x10\0US\2\0" in head:
        return "is a DICOM file whose bytes are in another order than it says; save it again"
    return "is a DICOM file without an image in it"


def _given(path: Path, head: bytes) -> str | None:
    """The encoding that a file with a preamble says; a deflated file is refused before it is inflated."""
    from pydicom import uid
    from pydicom.filereader import read_file_meta_info

    bare = is_bare(head)
    given = None if bare else read_file_meta_info(path).get("TransferSyntaxUID", uid.ImplicitVRLittleEndian)
    if given == uid.DeflatedExplicitVRLittleEndian or (
        bare and str(uid.DeflatedExplicitVRLittleEndian).encode() in head
    ):
        # pydicom inflates it whole, bombs too.
        raise RefusedError("is a deflated DICOM file; save it uncompressed or as JPEG 2000")
    return given


def _encoding(header: Header) -> UID:
    """How a file is written that does not say it."""
    from pydicom import uid

    implicit, little = header.original_encoding
    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian


def _check_decoder(syntax: UID) -> None:
    from pydicom.pixels import get_decoder

    try:
        ready = get_decoder(syntax).is_available
    except NotImplementedError as error:
        words = _NAMES.get(syntax, "") + (syntax if re.fullmatch(r"[0-9.]{1,64}", syntax) else "no number")
        raise RefusedError(f"is compressed in a way that is not supported ({words})") from error
    if not ready:
        raise RefusedError(f"is compressed and needs more to be installed: {how_to_install('dicom')}")


def _tag(mark: bytes, header: Header) -> int:
    order = "big" if header.original_encoding[1] is False else "little"
    return int.from_bytes(mark[:2], order) << 16 | int.from_bytes(mark[2:4], order)


def number(header: Header, tag: str, default: int | None = None) -> int:
    """Returns a tag that is a whole number.

    Raises:
        RefusedError: the tag is missing and has no default, or is no number.
    """
    try:
        value = header.get(tag)
        if value is not None and value != "":
            return int(value)
    except Exception:
        raise damaged(f"its tag {tag} has a value that cannot be read") from None
    if default is None:
        raise damaged(f"its tag {tag} is missing")
    return default


def check(found: Found) -> None:
    """Refuses what would be shown wrongly.

    Raises:
        RefusedError: names the tag that is missing, cannot be read or is not supported.
    """
    for tag in TAGS:
        _check_readable(found.tags, tag)
    _check_bits(found)
    _check_colours(found.tags)


def _check_readable(header: Header, tag: str) -> None:
    """Values are read from their text only now."""
    try:
        value = header.get(tag)
    except Exception:
        raise damaged(f"its tag {tag} has a value that cannot be read") from None
    if tag.startswith("Rescale") and tag in header and _is_empty(value):
        raise damaged(f"its tag {tag} is empty")


def _is_empty(value: Any) -> bool:
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


def _check_bits(found: Found) -> None:
    header = found.tags
    allocated = number(header, "BitsAllocated")
    if allocated not in (1, 8, 16, 32, 64):
        raise RefusedError(
            f"cannot be read: its tag BitsAllocated is {_told(allocated)}; save it with 8 or 16 bits"
        )
    if found.real:
        return
    stored, sign = number(header, "BitsStored"), number(header, "PixelRepresentation")
    high = number(header, "HighBit", stored - 1)
    if not 1 <= stored <= allocated or sign not in (0, 1):
        raise damaged("its tags BitsAllocated, BitsStored and PixelRepresentation do not go together")
    if high != stored - 1 and header.file_meta.TransferSyntaxUID in _HAVE_HIGH_BITS:
        raise RefusedError(
            f"cannot be read: its tag HighBit is {_told(high)}, and {stored - 1} is read for {stored} bits; "
            "save it again with the lower bits used"
        )


def _told(value: int) -> str:
    """A number of bits or colours. What is no such number is not quoted."""
    return str(value) if 0 <= value <= 64 else "out of its range"


def _check_colours(header: Header) -> None:
    colours, samples = header.get("PhotometricInterpretation"), number(header, "SamplesPerPixel")
    if not colours:
        raise damaged("its tag PhotometricInterpretation is missing")
    transformed = colours in ("YBR_RCT", "YBR_ICT")
    if colours in _NOT_READ or (
        transformed and not header.file_meta.TransferSyntaxUID.startswith(OF_JPEG_2000)
    ):
        where = " outside JPEG 2000" if transformed else ""
        raise RefusedError(
            f"cannot be read: its tag PhotometricInterpretation is {colours}{where}, which is not read; "
            "save it as RGB"
        )
    if colours not in _READ:
        raise damaged("its tag PhotometricInterpretation has an unknown value")
    if samples != _READ[colours]:
        raise damaged(f"PhotometricInterpretation is {colours}, and SamplesPerPixel is {_told(samples)}")
    if samples == 3:
        _check_three(header)
    elif colours == "PALETTE COLOR":
        _check_palette(header)


def _check_three(header: Header) -> None:
    number(header, "PlanarConfiguration")
    if number(header, "PixelRepresentation"):
        raise damaged("its colours are signed numbers, and the tag PixelRepresentation of colours is 0")


def _check_palette(header: Header) -> None:
    for colour in COLOURS:
        table = f"{colour}PaletteColorLookupTable"
        if not header.get(f"{table}Descriptor"):
            raise damaged(f"its tag {table}Descriptor is missing")
        if not (header.get(f"{table}Data") or header.get(f"Segmented{table}Data")):
            raise damaged(f"its tag {table}Data is missing")
