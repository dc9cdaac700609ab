"""What a compressed DICOM frame says of its own size, before a decoder takes memory for it."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import NamedTuple

from lmd.data.decode.dicom_header import Found, RefusedError, number
from lmd.data.decode.jpeg2000 import samples_of
from lmd.text import numbered

_JPEG, _JPEG_2000 = b"\xff\xd8", (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
# The marks of a JPEG that give its size: all kinds of frames, and that of JPEG-LS.
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # Marks that no length follows.


class Said(NamedTuple):
    """What a codestream says of its picture."""

    width: int
    height: int
    samples: int


def check_frame(path: Path, position: int, found: Found) -> None:
    """Refuses a frame whose codestream has another size than the header says.

    Raises:
        RefusedError: it has; a decoder would take memory for it, or read another picture.
    """
    header = found.tags
    if not header.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    said = _said(_frame(path, position, found))
    if said is None:  # RLE has none. What is no codestream at all is refused by its decoder.
        return
    wanted = Said(*(number(header, tag) for tag in ("Columns", "Rows", "SamplesPerPixel")))
    if said != wanted:
        raise RefusedError(
            f"cannot be read: damaged DICOM (its picture has {said.width} x {said.height} pixels of "
            f"{numbered(said.samples, 'sample')}, and its tags say {wanted.width} x {wanted.height} of "
            f"{wanted.samples})"
        )


def _frame(path: Path, position: int, found: Found) -> bytes:
    from pydicom.encaps import get_frame

    tags = found.tags
    count = number(tags, "NumberOfFrames", 1) or 1
    offsets, lengths = tags.get("ExtendedOffsetTable"), tags.get("ExtendedOffsetTableLengths")
    table = (offsets, lengths) if offsets and lengths else None
    with path.open("rb") as file:
        file.seek(found.place)
        return get_frame(file, position, extended_offsets=table, number_of_frames=count)


def _said(frame: bytes) -> Said | None:
    """What a JPEG, JPEG-LS or JPEG 2000 says; None of anything else."""
    if frame.startswith(_JPEG_2000):
        found = samples_of(io.BytesIO(frame))
        return None if found is None else Said(*found.size, len(found.bits))
    return _of_jpeg(frame) if frame.startswith(_JPEG) else None


def _of_jpeg(frame: bytes) -> Said | None:
    """The size in the first frame header of a JPEG, found by the lengths of what stands before it.

    >>> _of_jpeg(bytes.fromhex("ffd8 ffe00004aaaa ffc0000b08 0002 0003 01 01 11 00"))
    Said(width=3, height=2, samples=1)
    """
    place = 2
    while place + 10 <= len(frame):
        mark = frame[place + 1]
        if frame[place] != 0xFF:
            return None
        if mark in _FRAMES:
            height, width, samples = struct.unpack_from(">HHB", frame, place + 5)
            return Said(width, height, samples)
        if mark == 0xFF:  # Filling.
            place += 1
        else:
            place += 2 if mark in _ALONE else 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    return None
