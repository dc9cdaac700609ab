"""Files that are given for a table and are none that we read, named by their bytes, with the way out."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from lmd.errors import DataError

MOST_BYTES = 2**28  # Of a table; one of a million images has a tenth.
MOST_CELLS = 20_000_000
AS_CSV = "save it as a CSV file with a header line"
_UNPACK = "unpack it first"
_IN_R = "in R write it with write.csv(table, 'cases.csv', row.names = FALSE)"
_IMAGE = "name the table of the images"
_MATLAB = ("a MATLAB file", f"{AS_CSV}, in MATLAB with writetable")
_R = ("an R data file", _IN_R)
_R_HEADS = (b"RDX2\n", b"RDX3\n", b"RDA2\n", b"RDA3\n", b"X\n\0")
_OLE = b"\xd0\xcf\x11\xe0"
ZIP, PARQUET = b"PK\x03\x04", b"PAR1"
_HEADS = (
    (b"\x1f\x8b", "packed with gzip", _UNPACK),
    *((b"BZh%d1AY" % level, "packed with bzip2", _UNPACK) for level in range(1, 10)),
    (b"\xfd7zXZ", "packed with xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", _UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (ZIP, "a ZIP archive", _UNPACK),
    (b"SQLite format 3", "an SQLite database", AS_CSV),
    (b"\0\1\0\0Standard", "an Access database", AS_CSV),
    (b"$FL2", "an SPSS file", AS_CSV),
    (b"$FL3", "an SPSS file", AS_CSV),
    (b"<stata", "a Stata file", AS_CSV),
    *((bytes((letter, mark)), "a Stata file", AS_CSV) for letter in b"qrs" for mark in (1, 2)),
    (b"\0" * 12 + b"\xc2\xea\x81\x60", "a SAS file", AS_CSV),
    (b"HEADER RECORD***", "a SAS transport file", AS_CSV),
    (b"MATLAB 5.0 MAT", *_MATLAB),
    (b"MATLAB 7.3 MAT", *_MATLAB),
    (b"\x93NUMPY", "a NumPy file", AS_CSV),
    *((head, *_R) for head in _R_HEADS),
    (b"\x89HDF", "an HDF5 file", AS_CSV),
    (b"{\\rtf", "a text document (RTF)", AS_CSV),
    (b"%PDF", "a PDF document", AS_CSV),
    (b"ARROW1\0\0", "an Arrow (Feather) file", "save it as .parquet or CSV"),
    (b"Obj\x01", "an Avro file", AS_CSV),
    *((b"\x80" + bytes([version]), "a pickle, which may run code when it is opened", AS_CSV)
      for version in (2, 3, 4, 5)),
    (b"\x89PNG", "an image", _IMAGE),
    (b"\xff\xd8\xff", "an image", _IMAGE),
    (b"II*\0", "an image", _IMAGE),
    (b"MM\0*", "an image", _IMAGE),
    (b"version https://git-lfs", "a git-lfs pointer and not the file", "fetch the file with 'git lfs pull'"),
)  # fmt: skip
# What is inside of a ZIP archive, by the beginning of a member's name.
_MEMBERS = (
    ("xl/workbook.bin", "a binary Excel file (.xlsb)", "save it as .xlsx or CSV"),
    ("xl/", "an Excel file", "name it with the ending .xlsx"),
    ("word/", "a Word document", AS_CSV),
    ("ppt/", "a presentation", AS_CSV),
    ("Index/", "a document of Apple Numbers, Pages or Keynote", "export it as .xlsx or CSV"),
    ("Index.zip", "a document of Apple Numbers, Pages or Keynote", "export it as .xlsx or CSV"),
    ("index.apxl", "a document of Apple Numbers, Pages or Keynote", "export it as .xlsx or CSV"),
)


def read_file(path: Path) -> bytes:
    """Returns the bytes of a file.

    Raises:
        DataError: it is missing, a folder, larger than any table or may not be read.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if len(raw) > MOST_BYTES:
        raise too_large(path, f"more than {MOST_BYTES:,} bytes")
    return raw


def too_large(path: Path, what: str) -> DataError:
    """Returns the refusal of a table that would fill the memory."""
    inside = " (it may hold the images themselves)" if path.suffix.lower() in (".parquet", ".pq") else ""
    return DataError(f"{path} has {what}{inside}: leave out what is not needed, or make several sets of it")


def refuse_other_kinds(path: Path, raw: bytes, own: Sequence[str] = ()) -> None:
    """Refuses a file whose bytes say that it is no text, and none of `own` kinds.

    Raises:
        DataError: what it is, and the way out.
    """
    kind = _kind(path, raw)
    if kind is not None and kind[0] not in own:
        raise DataError(f"{path} is {kind[0]}, not a table: {kind[1]}")


def _kind(path: Path, raw: bytes) -> tuple[str, str] | None:
    if raw.startswith(_OLE):
        return _of_ole(path, raw)
    if raw.startswith(ZIP):
        inside = _of_zip(raw)
        if inside is not None:
            return inside
    packed = _unpacked_head(raw)
    if path.suffix.lower() in (".rds", ".rda", ".rdata") or packed.startswith(_R_HEADS):
        return _R
    if packed[257:262] == b"ustar" or raw[257:262] == b"ustar":
        return "a tar archive", _UNPACK
    if raw[128:132] == b"DICM":
        return "an image", _IMAGE
    if raw[:4] == raw[-4:] == PARQUET:
        return "a Parquet file", "name it with the ending .parquet"
    if raw[:3] == raw[-4:-1] == b"ORC":
        return "an ORC file", "save it as .parquet or CSV"
    return next(((what, way) for head, what, way in _HEADS if raw.startswith(head)), None)


def _of_ole(path: Path, raw: bytes) -> tuple[str, str]:
    """Old Office files, and the wrapping of new ones with a password."""
    if "EncryptedPackage".encode("utf-16-le") in raw:
        return "protected by a password", "save it without one, as .xlsx or CSV"
    if path.suffix.lower() in (".xlsx", ".xlsm"):
        return "protected by a password or an old Excel file", "save it as .xlsx without a password, or CSV"
    return "an old Excel file (.xls) or another old Office file", "save it as .xlsx or CSV"


def _of_zip(raw: bytes) -> tuple[str, str] | None:
    """What a ZIP archive is by its members; None for one that is damaged or just an archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = archive.namelist()
            mime = archive.read("mimetype")[:100] if "mimetype" in names else b""
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error, OSError):
        return None
    if b"opendocument" in mime:
        sheet = b"spreadsheet" in mime
        return f"an OpenDocument {'spreadsheet (.ods)' if sheet else 'file'}", "save it as .xlsx or CSV"
    if names and all(name.endswith(".npy") for name in names):
        return "a NumPy archive (.npz)", AS_CSV
    return next(
        ((what, way) for start, what, way in _MEMBERS if any(name.startswith(start) for name in names)), None
    )


def _unpacked_head(raw: bytes) -> bytes:
    """The first bytes of what is packed; nothing where that cannot be told."""
    try:
        if raw.startswith(b"\x1f\x8b"):
            with gzip.open(io.BytesIO(raw)) as file:
                return file.read(512)
        if raw.startswith(b"BZh"):
            return bz2.BZ2Decompressor().decompress(raw, 512)
        if raw.startswith(b"\xfd7zXZ"):
            return lzma.LZMADecompressor().decompress(raw, 512)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        pass
    return b""
