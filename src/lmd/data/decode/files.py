"""Image files on disk: found by their names, opened with care, named in messages."""

from __future__ import annotations

import logging
import os
import stat
from io import BufferedReader
from pathlib import Path

from lmd.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".dcm", ".dicom")

_log = logging.getLogger(__name__)


def list_images(folder: Path) -> list[Path]:
    """Returns the files below a folder that are named as images, by name.

    Files that cannot be read (a broken link, a pipe) are listed too: `decode` says what is wrong with them.
    Hidden files and folders are not. Links to folders are not followed: they may lead back to a folder above,
    or into another class.

    Raises:
        DataError: a folder cannot be read.
    """
    found: list[Path] = []
    for parent, folders, files in os.walk(folder, onerror=_refuse_folder):
        here = Path(parent)
        for name in folders:
            if (here / name).is_symlink() and not name.startswith("."):
                _log.warning("the link %s to a folder is not entered", printable(here / name))
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [here / name for name in files if _is_image(name)]
    return sorted(found)


def _is_image(name: str) -> bool:
    """Whether a name is that of an image; hidden files such as the "._name.jpg" of macOS are none."""
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def _refuse_folder(error: OSError) -> None:
    raise DataError(f"folder {printable(error.filename)} cannot be read: {error.strerror}") from error


def printable(path: Path | str) -> str:
    r"""Returns a path for a message: one line, whatever is in the name.

    >>> printable("a\nb.png")
    'a\\nb.png'
    """
    name = str(path)
    if name.isprintable():  # Nearly always; this is asked for each image.
        return name
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in name)


def open_file(path: Path) -> BufferedReader:
    """Returns a file opened for reading. A pipe is refused: reading it could wait for ever.

    Raises:
        DataError: there is no such file, or it is empty, or cannot be read.
    """
    name = printable(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"image {name} is not a file but a folder, pipe or device")
        if status.st_size == 0:
            raise DataError(f"image {name} is empty (0 bytes)")
        return path.open("rb")
    except FileNotFoundError as error:
        broken = f"image {name} is a link to a file that is not there"
        raise DataError(broken if path.is_symlink() else f"no image {name}") from error
    except OSError as error:
        raise DataError(f"image {name} cannot be read: {error.strerror}") from error
