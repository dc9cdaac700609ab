"""Images inside of tar files (shards): members that are opened as if each were a file of its own."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PosixPath, WindowsPath
from typing import Any

from lmd.errors import DataError

TAR = ".tar"
MOST_BYTES = 2**28  # Of one member: it is read as a whole.
_BLOCK = 512
_PathOfSystem = WindowsPath if os.name == "nt" else PosixPath
_reading = threading.Lock()  # Threads that want the members of one shard wait for the first of them.


class Member(_PathOfSystem):
    """The path of a member: that of its shard, and its name in it. Its size and time are the shard's."""

    def within(self) -> tuple[str, str]:
        """Returns the shard that it is in, and its name there.

        Raises:
            FileNotFoundError: there is none.
        """
        text = self.as_posix()
        end = _end_of_shard(text)
        if end < 0:
            raise FileNotFoundError(text)
        return text[:end], text[end + 1 :]

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Returns size and time of the shard: none of its members is the same once it has changed."""
        return os.stat(self.within()[0], follow_symlinks=follow_symlinks)  # noqa: PTH116

    def open(self, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:  # type: ignore[override]
        """Returns the member, opened for reading.

        Raises:
            FileNotFoundError: the shard has no such member.
        """
        shard, name = self.within()
        place = places(shard).get(name)
        if place is None or mode != "rb":
            raise FileNotFoundError(str(self))
        with open(shard, "rb") as file:  # noqa: PTH123
            file.seek(place[0])
            return io.BufferedReader(io.BytesIO(file.read(place[1])))  # type: ignore[arg-type]


def image_path(root: Path, file: str) -> Path:
    """Returns the path of an image below a folder: of a file, or of a member of a shard."""
    path = root / file
    inside = f"{TAR}/" in file.lower() and _end_of_shard(path.as_posix()) >= 0
    return Member(path) if inside else path


def _end_of_shard(text: str) -> int:
    """Where the name of the shard ends in a path; -1 where no part of it is one. Asked for each image."""
    small = text.lower()
    end = small.find(f"{TAR}/") + len(TAR)
    while end >= len(TAR):
        if os.path.isfile(text[:end]):  # noqa: PTH113
            return end
        end = small.find(f"{TAR}/", end) + len(TAR)
    return -1


def places(shard: Path | str) -> dict[str, tuple[int, int]]:
    """Returns where each member of a shard begins, and its bytes, by name.

    Raises:
        DataError: one line on what is wrong with the shard.
    """
    status = os.stat(shard)  # noqa: PTH116
    with _reading:
        return _places(str(shard), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _places(shard: str, size: int, time: int) -> dict[str, tuple[int, int]]:
    """The same; read again where the shard has changed. Few are kept: images are used shard by shard."""
    found: dict[str, tuple[int, int]] = {}
    for member in _members(Path(shard), size):
        if member.name in found:
            raise DataError(f"shard {shard} has the member '{_shown(member.name)}' twice")
        found[member.name] = (member.offset_data, member.size)
    return found


def _members(shard: Path, size: int) -> Iterator[tarfile.TarInfo]:
    """Yields the files of a shard, checked; no data are read."""
    try:
        with tarfile.open(shard, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined] # It keeps them all.
                member.name = member.name.removeprefix("./")
                if not member.isdir():
                    _check(shard, member, size)
                    yield member
            end = tar.offset  # type: ignore[attr-defined]
        _check_end(shard, end)
    except DataError:
        raise
    except tarfile.TarError as error:
        raise DataError(f"shard {shard} is no sound tar file: {error}{_packed(shard)}") from error
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"shard {shard} cannot be read: {error}") from error


def _check(shard: Path, member: tarfile.TarInfo, size: int) -> None:
    name = member.name
    told = f"shard {shard}: member '{_shown(name)}'"
    if not member.isreg() or member.issparse():
        raise DataError(f"{told} is a link, a device or a sparse file; a shard holds plain files alone")
    if name.startswith("/") or "\\" in name or {"..", "."} & set(name.split("/")):
        raise DataError(f"{told} has a name that leads elsewhere; allowed are names like part/000001.jpg")
    if not name.isprintable():
        raise DataError(f"{told} has a name that is no printable text")
    if member.size > MOST_BYTES:
        raise DataError(f"{told} has {member.size:,} bytes; {MOST_BYTES:,} are the most")
    if member.offset_data + member.size > size:
        raise DataError(f"{told} is cut off: the file ends before it does; copy the shard anew")


def _check_end(shard: Path, end: int) -> None:
    """Refuses a shard whose members do not end with what a tar file ends with: tarfile takes it for whole."""
    with shard.open("rb") as file:
        file.seek(max(0, end - _BLOCK))
        blocks = (file.read(_BLOCK), file.read(_BLOCK))
    if bytes(_BLOCK) not in blocks:
        raise DataError(f"shard {shard} is cut off or damaged at byte {end:,}; copy it anew")


def _packed(shard: Path) -> str:
    """What to do about a packed tar file."""
    with shard.open("rb") as file:
        packed = file.read(2) in (b"\x1f\x8b", b"BZ", b"\xfd7", b"\x28\xb5")
    return "; it is packed: unpack it (gunzip, unxz, ...), so that members can be found" if packed else ""


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)[1:-1]
