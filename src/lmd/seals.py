"""Checksums inside of files: one SHA-256 over every byte, its own place counted as zeros.

A checksum in a second file could not be replaced at once with the first. Inside of it, one rename replaces
both. A sequence of bytes at a fixed place says that a file has a checksum. A file in which that sequence is
damaged is no longer of any kind that lmd reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from lmd.reading import UnreadableError, json_of, text_of

BLANK = "0" * 64
DAMAGED = "its checksum does not fit, so it was changed after it was written, or the disk is at fault"


class Mark(NamedTuple):
    """What stands before the checksum of a file of some kind, and where."""

    offset: int
    text: bytes

    @property
    def place(self) -> int:
        """Where the checksum begins."""
        return self.offset + len(self.text)


# The header of a safetensors file follows its length in 8 bytes.
TREE = Mark(8, b'{"__metadata__":{"lmd_sealed":"')
_NAME = "sha256"
JSON = Mark(0, b'{\n  "sha256": "')


def seal(path: Path, mark: Mark) -> None:
    """Writes the checksum of a file into it, over 64 zeros.

    Raises:
        ValueError: the file has no such place.
    """
    with path.open("r+b") as file:
        if not _has(file, mark, BLANK.encode()):
            raise ValueError(f"{path} has no place for a checksum")
        checksum = _checksum(file, mark)
        file.seek(mark.place)
        file.write(checksum)


def fits(path: Path, mark: Mark) -> bool | None:
    """Returns whether the checksum of a file is that of its bytes; None where it has none.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if not _has(file, mark):
            return None
        return file.read(len(BLANK)) == _checksum(file, mark)


def sealed_json(tree: Mapping[str, Any]) -> str:
    """Returns a JSON object as text, with the checksum of that text as its first entry.

    >>> list(json.loads(sealed_json({"a": 1})))
    ['sha256', 'a']
    """
    text = json.dumps({_NAME: BLANK, **tree}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.replace(BLANK, hashlib.sha256(text.encode()).hexdigest(), 1)


def read_sealed_json(path: Path) -> tuple[dict[str, Any], bool]:
    """Returns a JSON object without its checksum, and whether it has one: one of `format` 1 has none.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    fit = fits(path, JSON)
    if fit is False:
        raise ValueError(DAMAGED)
    try:
        tree = json_of(text_of(path))
    except UnreadableError as error:
        raise ValueError(f"it {error}") from error
    if not isinstance(tree, dict) or (fit is None and (_NAME in tree or tree.get("format", 1) != 1)):
        raise ValueError("it does not begin as lmd writes it")
    return {name: value for name, value in tree.items() if name != _NAME}, fit is not None


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file, as hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has(file: BinaryIO, mark: Mark, after: bytes = b"") -> bool:
    """Whether a file has the mark, and something after it; leaves the file at the end of the mark."""
    file.seek(mark.offset)
    found = file.read(len(mark.text + after)) == mark.text + after
    file.seek(mark.place)
    return found


def _checksum(file: Any, mark: Mark) -> bytes:
    file.seek(0)
    begun = hashlib.sha256(file.read(mark.place))
    begun.update(BLANK.encode())
    file.seek(mark.place + len(BLANK))
    return hashlib.file_digest(file, lambda: begun).hexdigest().encode()
