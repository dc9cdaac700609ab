"""Files that are given for a table and are none that we read: each is named, with the way out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lmd.data.decode.files import EXTENSIONS
from lmd.errors import DataError

_JSON = re.compile(r'\{\s*["}]|\[\s*[{\["\d-]')
_AS_CSV = "save it as a CSV file with a header line"
_HEADS = (
    (b"\xd0\xcf\x11\xe0", "an old Excel file (.xls)", "save it as .xlsx or CSV"),
    (b"\x1f\x8b", "packed with gzip", "unpack it first"),
    (b"BZh", "packed with bzip2", "unpack it first"),
    (b"\xfd7zXZ", "packed with xz", "unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it first"),
    (b"SQLite format 3", "an SQLite database", _AS_CSV),
    (b"$FL2", "an SPSS file", _AS_CSV),
    (b"<stata", "a Stata file", _AS_CSV),
    (b"\x89HDF", "an HDF5 file", _AS_CSV),
    (b"%PDF", "a PDF document", _AS_CSV),
    (b"ARROW1", "an Arrow (Feather) file", "save it as .parquet or CSV"),
    (b"Obj\x01", "an Avro file", _AS_CSV),
    (b"\x80\x04", "a pickle, which may run code when it is opened", _AS_CSV),
    (b"\x80\x05", "a pickle, which may run code when it is opened", _AS_CSV),
    (b"version https://git-lfs", "a git-lfs pointer and not the file", "fetch the file with 'git lfs pull'"),
)


def refuse_other_kinds(path: Path, raw: bytes) -> None:
    """Refuses a file whose first bytes say that it is no text.

    Raises:
        DataError: what it is, and the way out.
    """
    kind = next(((what, way) for head, what, way in _HEADS if raw.startswith(head)), None)
    if kind is not None:
        raise DataError(f"{path} is {kind[0]}, not a table: {kind[1]}")


def refuse_other_texts(path: Path, text: str) -> None:
    """Refuses a text that is no table, or that begins with a line of another kind.

    Raises:
        DataError: what it is, and the way out.
    """
    start = text.lstrip()[:2000]
    line = start.splitlines()[0].strip() if start else ""
    if line.lower().startswith("sep="):
        raise DataError(
            f"{path} begins with '{line}', a line for Excel alone: delete it; the delimiter is found without "
            "it"
        )
    if line.startswith(("#", "//", "%", "--")) and not _is_header(line, text):
        raise DataError(f"{path} begins with a comment ('{line[:40]}'): delete the lines above the header")
    if start.lower().startswith(("<!doctype", "<html", "<table", "<?xml")):
        raise DataError(f"{path} is a web page or XML, not a table: {_AS_CSV}; its download may have failed")
    if _JSON.match(start):
        raise DataError(f"{path} is JSON, not a table: {_AS_CSV}, for example with pandas: read_json, to_csv")


def _is_header(line: str, text: str) -> bool:
    """Whether a line that begins as a comment has as many fields as the line below it: "#,image,label"."""
    below = next((other for other in text.lstrip().splitlines()[1:] if other.strip()), "")
    return any(line.count(mark) == below.count(mark) > 0 for mark in ",;\t|")


def refuse_no_header(path: Path, header: Sequence[str]) -> None:
    """Refuses a first row that holds values: an image file, or numbers alone.

    Raises:
        DataError: the row, and the way out.
    """
    names = [name for name in header if name]
    file = next((name for name in names if name.lower().endswith(EXTENSIONS) and "." in name[1:]), None)
    if file is not None or (names and all(_is_number(name) for name in names)):
        raise DataError(
            f"{path} has no header: its first row holds values ('{file or names[0]}'); write a row with the "
            "names of the columns above it, such as image,label"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
