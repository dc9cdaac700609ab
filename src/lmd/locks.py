"""Locks of the kernel: they go with the process that holds them, however it ends.

A run folder is locked while it is written (`locked`). A temporary file is locked while it is filled
(`try_lock`), so that a file that a killed process left can be told from one that is still needed.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from lmd.errors import CheckpointError
from lmd.reading import json_of, text_of

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_log = logging.getLogger(__name__)

LOCK = ".lock"  # The file in a run folder that is locked; it says who holds it.
_LONGEST = 2**12  # Bytes of what it says.
_FAR = 2**30  # Windows keeps others from reading what is locked: this is behind all that the file says.


def try_lock(descriptor: int) -> bool | None:
    """Locks an open file; False where another process has it, None where the file system has no locks.

    Closing the file unlocks it.
    """
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder for a while; it is made where it is not there, and goes again where nothing is put in.

    Raises:
        CheckpointError: another process holds it, or it cannot be written.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(folder)
    except OSError as error:
        raise CheckpointError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        _release(folder / LOCK, descriptor)
        with suppress(OSError):  # Not empty.
            for path in new:
                path.rmdir()


def refuse_held(folder: Path) -> None:
    """Refuses a folder that another process holds.

    Raises:
        CheckpointError: one line on who holds it, and since when.
    """
    if holder(folder) is not None:
        raise _held(folder)


def holder(folder: Path) -> str | None:
    """Returns which process holds a folder, and since when; None where none does, or nobody can know."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        return None
    try:
        return _who(folder) if try_lock(descriptor) is False else None
    finally:
        os.close(descriptor)


def _acquire(folder: Path) -> int:
    """Locks the folder's file and writes into it who holds it; returns the open file."""
    path = folder / LOCK
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        got = try_lock(descriptor)
        if got is False:
            os.close(descriptor)
            raise _held(folder)
        if got is None:
            _log.warning("the file system of %s has no locks: start no second training in it", folder)
        if got is None or is_at(descriptor, path):
            _say_who(descriptor)
            return descriptor
        os.close(descriptor)  # Whoever held it has removed it since it was opened.


def is_at(descriptor: int, path: Path) -> bool:
    """Returns whether an open file is the one that lies at the path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _say_who(descriptor: int) -> None:
    since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    who = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.truncate(descriptor, 0)
    os.write(descriptor, json.dumps(who).encode())


def _held(folder: Path) -> CheckpointError:
    return CheckpointError(
        f"{folder} is being written by {_who(folder)}: wait until it has ended, or choose another folder"
    )


def _who(folder: Path) -> str:
    """Who holds a folder, as its file says."""
    try:
        who = json_of(text_of(folder / LOCK, _LONGEST))
        return f"process {who['pid']} on {who['host']} since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _release(path: Path, descriptor: int) -> None:
    """Removes the file while it is still held, so that nobody locks one that is about to go."""
    with suppress(OSError):  # Windows removes no open file.
        path.unlink()
    os.close(descriptor)
    if sys.platform == "win32":
        with suppress(OSError):
            path.unlink()
