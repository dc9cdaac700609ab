"""The sha256 of each image file of a data set, kept beside it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmd.data.decode.files import open_file
from lmd.data.decode.members import Member
from lmd.data.decode.place import cache_folder
from lmd.files import atomic_path, sweep
from lmd.parallel import Steps, in_threads, quiet
from lmd.reading import json_of, text_of

if TYPE_CHECKING:
    from lmd.data.dataset.manifest import Dataset

_AT_ONCE = 8192
_KEPT = 2**24  # Bytes of a file that is kept in memory: some 100,000 images.


def file_hashes(dataset: Dataset, progress: Steps = quiet) -> list[str]:
    """Returns the sha256 of each image file; a file whose size and time are unchanged is not read again.

    Raises:
        DataError: an image cannot be read.
        CheckpointError: the disk is full.
    """
    known_file = cache_folder(dataset) / "hashes.json"
    sweep(known_file.parent)  # Where all is known nothing is written, which would do it.
    known = _read_known(dataset.folder / "cache" / "hashes.json") | _read_known(known_file)
    paths = dataset.paths()
    now: dict[str, list[Any]] = {}
    saved, changed = 0, False
    try:
        for start in range(0, len(paths), _AT_ONCE):
            new = _entries(paths[start : start + _AT_ONCE], known)
            now |= new
            if any(known.get(name) != entry for name, entry in new.items()):
                changed = True
                progress(len(now), len(paths))
            if changed and len(now) >= 2 * saved:  # Ever rarer: each time all of them are written.
                _save(known_file, known | now)
                saved, changed = len(now), False
    finally:  # Also where one of them cannot be read.
        if changed:
            _save(known_file, known | now)
    return [now[str(path)][2] for path in paths]


def _entries(paths: list[Path], known: dict[str, list[Any]]) -> dict[str, list[Any]]:
    entries = in_threads(lambda path: _entry(path, known.get(str(path))), paths)
    return {str(path): entry for path, entry in zip(paths, entries, strict=True)}


def _save(file: Path, entries: dict[str, list[Any]]) -> None:
    """Writes them line by line: the text of a million has 150 MB."""
    with atomic_path(file) as temporary, temporary.open("w", encoding="utf-8") as written:
        before = "{"
        for name, entry in entries.items():
            written.write(f"{before}{json.dumps(name)}: {json.dumps(entry)}")
            before = ",\n"
        written.write("}")


def _entry(path: Path, old: list[Any] | None) -> list[Any]:
    """The size, time and sha256 of a file."""
    if old is not None:
        with suppress(OSError):
            status = path.stat()
            if old[:2] == [status.st_size, status.st_mtime_ns]:
                return old
    with open_file(path) as file:
        status = path.stat() if isinstance(path, Member) else os.fstat(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return [status.st_size, status.st_mtime_ns, digest]


def _read_known(path: Path) -> dict[str, list[Any]]:
    """The hashes of an earlier call; a damaged entry counts as none."""
    try:
        status = path.stat()
    except OSError:
        return {}
    return _entries_of(path, (status.st_ino, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=2)
def _kept(path: Path, version: tuple[int, int, int]) -> dict[str, list[Any]]:
    return _parsed(path)


def _entries_of(path: Path, version: tuple[int, int, int]) -> dict[str, list[Any]]:
    """What a version of the file says; a training asks six times, and a process of `--jobs` trains often."""
    return _kept(path, version) if version[1] <= _KEPT else _parsed(path)


def _parsed(path: Path) -> dict[str, list[Any]]:
    try:
        known = json_of(text_of(path))
    except (OSError, ValueError):
        return {}
    return (
        {name: entry for name, entry in known.items() if _is_entry(entry)} if isinstance(known, dict) else {}
    )


def _is_entry(entry: Any) -> bool:
    """Whether this is a size, a time and a sha256."""
    kinds = [type(part) for part in entry] if isinstance(entry, list) else []
    return kinds == [int, int, str] and re.fullmatch("[0-9a-f]{64}", entry[2]) is not None
