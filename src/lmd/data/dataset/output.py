"""An output folder: refused where it is in use, and written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lmd.errors import DataError
from lmd.files import beside


@contextmanager
def becoming(folder: Path) -> Iterator[Path]:
    """Gives an empty folder beside `folder` that becomes it on success and vanishes on failure."""
    try:
        with beside(folder) as temporary:
            temporary.mkdir()
            yield temporary
            if folder.exists():
                folder.rmdir()
            temporary.replace(folder)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror or error}") from error


def refuse_used(folder: Path) -> None:
    """Refuses an output folder that exists and is not empty.

    Raises:
        DataError: the folder is in use.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise DataError(f"output folder {folder} is not empty; choose another")
