"""Files that are not read, named for what they are by their first bytes; and files that end early."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from typing import NamedTuple

HEAD = 512  # The bytes that are looked at.
_MOST_BEFORE_FRAME = 2**22  # Bytes of a JPEG before its frame: EXIF, a preview, colour profiles.
_PICTURE = "is {}, which is not read; save it as PNG or JPEG"
_OTHER = "is not an image in a known format: it is {}"


def told(error: BaseException) -> str:
    """Returns the words of another library's error in one line, without its names of objects in memory.

    >>> told(OSError("cannot identify <_io.BytesIO object>"))
    'cannot identify'
    """
    return " ".join(re.sub(r"<[^<>]*>", "", str(error)).split())


class _Kind(NamedTuple):
    """A kind of file: where its mark is, the mark, and what is said of such a file."""

    place: int
    mark: bytes
    words: str


def _picture(mark: bytes, what: str, place: int = 0) -> _Kind:
    return _Kind(place, mark, _PICTURE.format(what))


def _other(mark: bytes, what: str, place: int = 0) -> _Kind:
    return _Kind(place, mark, _OTHER.format(what))


_KINDS = (
    _Kind(
        0,
        b"version https://git-lfs.github.com/spec/",
        "is a git-lfs pointer, not the image: run 'git lfs pull'",
    ),
    *(
        _picture(b"ftyp" + brand, "a HEIC picture", 4)
        for brand in (b"heic", b"heix", b"hevc", b"heim", b"heis")
    ),
    *(_picture(b"ftyp" + brand, "a HEIF picture", 4) for brand in (b"mif1", b"msf1")),
    *(_picture(b"ftyp" + brand, "an AVIF picture", 4) for brand in (b"avif", b"avis")),
    _picture(b"ftypcrx ", "a camera's raw file", 4),
    _picture(b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
    _picture(b"\xff\x0a", "a JPEG XL picture"),
    _picture(b"II\xbc\x01", "a JPEG XR picture"),
    _picture(b"8BPS", "a Photoshop file"),
    _picture(b"gimp xcf", "a GIMP file"),
    _picture(b"\0\0\1\0", "a Windows icon"),
    _picture(b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    _picture(b"#?RADIANCE", "a Radiance picture"),
    _picture(b"DDS ", "a DirectDraw texture"),
    _picture(b"qoif", "a QOI picture"),
    _picture(b"SIMPLE  =", "a FITS file"),
    _picture(b"PF\n", "a colour PFM picture"),
    _picture(b"AT&TFORM", "a DjVu file"),
    _picture(b"P7\n", "a PAM picture"),
    *(_picture(bytes((10, version, 1)), "a PCX picture") for version in (0, 2, 3, 4, 5)),
    _picture(b"\x01\xda", "an SGI picture"),
    _picture(b"icns", "an Apple icon"),
    _picture(b"CgBI", "a PNG of iPhones (CgBI)", 12),
    _other(b"\xff\xfe", "text (UTF-16)"),
    _other(b"\xfe\xff", "text (UTF-16)"),
    _other(b"%!PS", "PostScript; save its picture as PNG"),
    _other(b"\xc5\xd0\xd3\xc6", "PostScript; save its picture as PNG"),
    _other(b"%PDF", "a PDF; save its pages as PNG"),
    _other(b"PK\3\4", "a ZIP archive; unpack it"),
    _other(b"\x1f\x8b", "packed with gzip; unpack it"),
    _other(b"BZh", "packed with bzip2; unpack it"),
    _other(b"\xfd7zXZ\0", "packed with xz; unpack it"),
    _other(b"\x28\xb5\x2f\xfd", "packed with Zstandard; unpack it"),
    _other(b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it"),
    _other(b"Rar!", "a RAR archive; unpack it"),
    _other(b"ustar", "a tar archive; unpack it", 257),
    _other(b"\x5c\1\0\0", "a NIfTI volume; save its slices as PNG"),
    _other(b"\0\0\1\x5c", "a NIfTI volume; save its slices as PNG"),
    _other(b"\x1c\2\0\0n+2\0", "a NIfTI volume; save its slices as PNG"),
    _other(b"NRRD0", "an NRRD volume; save its slices as PNG"),
    _other(b"ObjectType =", "a MetaImage volume; save its slices as PNG"),
    _other(b"\x89HDF\r\n\x1a\n", "an HDF5 file; save its pictures as PNG"),
    _other(b"\x93NUMPY", "a NumPy array; save it as PNG or TIFF"),
    _other(b"MATLAB 5.0", "a MATLAB file; save its pictures as PNG"),
    _other(b"SQLite format 3", "a database"),
    _other(b"ftyp", "a video; save its frames as PNG", 4),  # All that is no picture above.
    _other(b"AVI ", "a video; save its frames as PNG", 8),
    _other(b"\x1a\x45\xdf\xa3", "a video; save its frames as PNG"),
    _other(b"\0\0\1\xba", "a video; save its frames as PNG"),
    _other(b"\0\0\1\xb3", "a video; save its frames as PNG"),
    _other(b"FLV\1", "a video; save its frames as PNG"),
    _other(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video; save its frames as PNG"),
    _other(b"OggS", "sound or a video"),
    _other(b"ID3", "sound"),
    _other(b"WAVE", "sound", 8),
)


_LOSSLESS_FRAMES = (0xC3, 0xC7, 0xCB, 0xCF)
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC5, 0xC6, 0xC9, 0xCA, 0xCD, 0xCE)
_READ = (
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"RIFF", "WebP"),
    (b"\0\0\0\x0cjP", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
)


def what_else(head: bytes) -> str:
    """Returns what is to be said of a file that is no image, as the end of a sentence.

    `head` is its beginning. Of a JPEG, more of it tells more.
    """
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<html" in head.lower() or b"<!doctype html" in head.lower():
        return "is a web page, not an image; its download may have failed"
    if b"<svg" in start and start.startswith(b"<"):
        return _PICTURE.format("an SVG drawing")
    if not head.strip(b"\0"):
        return f"begins with {len(head)} zero bytes and no image; its copy or download may have failed"
    for place, mark, words in _KINDS:
        if head[place:].startswith(mark):
            return words
    if head.startswith(b"\xff\xd8\xff") and (kind := _kind_of_jpeg(head)):
        return _PICTURE.format(kind)
    for mark, form in _READ:
        if head.startswith(mark):
            return f"cannot be read: it begins as a {form} file and is damaged"
    return _OTHER.format("text") if _is_text(head) else "is not an image in a known format"


def _kind_of_jpeg(data: bytes) -> str | None:
    """What kind a JPEG is that is not read; None of others. Its segments are passed until the frame's."""
    place = 2
    while place + 5 <= len(data) and data[place] == 0xFF:
        mark, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if mark == 0xF7:
            return "a JPEG-LS picture"
        if mark in _LOSSLESS_FRAMES:
            return "a lossless JPEG"
        if mark in _FRAMES:
            return f"a JPEG of {data[place + 4]} bits" if data[place + 4] != 8 else None
        place += 1 if mark == 0xFF else 2 + length
    return None


def _is_text(head: bytes) -> bool:
    """Whether bytes are printable in UTF-8; the last letter may be cut."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return all(letter.isprintable() or letter in "\t\r\n\f" for letter in text)


def beginning(path: Path) -> bytes:
    """Returns the bytes of a file that tell its kind; of a JPEG many, since other data may come first."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            return head + file.read(_MOST_BEFORE_FRAME) if head.startswith(b"\xff\xd8\xff") else head
    except OSError:
        return b""


def early_end(path: Path) -> str:
    """Returns, in brackets, how a file that cannot be read ends early; nothing where it does not."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            head = file.read(HEAD)
            file.seek(max(0, size - HEAD))
            tail = file.read()
    except OSError:
        return ""
    needed = _announced(head)
    if needed is not None and size < needed:
        return f" (the file ends early: {size:,} of {needed:,} bytes are there)"
    end = next((end for start, end in _ENDS if head.startswith(start)), None)
    return (
        f" (the file ends early: after {size:,} bytes its end is missing)" if end and end not in tail else ""
    )


_ENDS = (
    (b"\xff\xd8\xff", b"\xff\xd9"),
    (b"\x89PNG", b"IEND"),
    (b"GIF8", b"\x3b"),
    (b"\xff\x4f\xff\x51", b"\xff\xd9"),
)


def _announced(head: bytes) -> int | None:
    """The bytes that a file says it has."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return struct.unpack("<I", head[4:8])[0] + 8
    if head[:2] == b"BM" and len(head) >= 6:
        return struct.unpack("<I", head[2:6])[0] or None
    return None
