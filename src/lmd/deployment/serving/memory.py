"""Uploads as files that no disk ever holds."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OPEN_FILES = Path("/proc/self/fd")


def in_memory() -> bool:
    """Returns whether this system can give memory a path; Linux can."""
    return sys.platform == "linux" and hasattr(os, "memfd_create") and _OPEN_FILES.is_dir()


@contextmanager
def as_file(data: bytes) -> Iterator[Path]:
    """Gives a path at which bytes are read, by this process and its children, for a while.

    On Linux they lie in memory and go with the process, even when it is killed. Elsewhere they are in a
    folder of their own that this user alone can read, and that is removed at the end.
    """
    if sys.platform == "linux" and in_memory():
        descriptor = os.memfd_create("upload", os.MFD_CLOEXEC)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(data)
            yield Path(f"/proc/{os.getpid()}/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory(prefix="lmd-serve-") as folder:
        path = Path(folder) / "upload"
        path.write_bytes(data)
        yield path
