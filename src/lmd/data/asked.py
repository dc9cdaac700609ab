"""The image files that a prediction is asked for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lmd.data.decode.files import EXTENSIONS, list_images, printable
from lmd.errors import DataError


def image_files(images: Sequence[Path | str] | Path | str) -> list[Path]:
    """Returns image files: those named, and all below the folders named.

    Raises:
        DataError: a folder has no image, or cannot be read.
    """
    named = [images] if isinstance(images, Path | str) else images
    return [file for path in map(Path, named) for file in (_below(path) if path.is_dir() else [path])]


def _below(folder: Path) -> list[Path]:
    files = list_images(folder)
    if not files:
        raise DataError(f"no image in {printable(folder)}: {_what_is_there(folder)}")
    return files


def _what_is_there(folder: Path) -> str:
    """What a folder without images holds, by the ends of its files' names; hidden files do not count."""
    names = [name for _, _, files in os.walk(folder) for name in files if not name.startswith(".")]
    if not names:
        return "it has no file"
    ends = Counter(Path(name).suffix.lower() or "no extension" for name in names)
    found = ", ".join(f"{count} with {printable(end)}" for end, count in ends.most_common(5))
    return f"its files are {found}; images end in {' '.join(EXTENSIONS)}"


def once_each(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Returns the files without those that were named before, and those."""
    first: dict[str, Path] = {}
    again: list[Path] = []
    for file in files:
        name = os.path.abspath(file)  # noqa: PTH100 (a link is another name than its target's)
        if name in first:
            again.append(file)
        first.setdefault(name, file)
    return list(first.values()), again


def refuse_missing(files: Sequence[Path]) -> None:
    """Refuses files that are not there, before a model is loaded for them.

    Raises:
        DataError: there is no such file.
    """
    for file in files:
        if not file.exists() and not file.is_symlink():
            raise DataError(f"no image {printable(file)}{_of_pattern(file)}")


def _of_pattern(path: Path) -> str:
    """What to do where a pattern of names was left as it was typed: no file fits, or it stood in quotes."""
    if not _is_pattern(path):
        return ""
    folder = next((parent for parent in path.parents if not _is_pattern(parent)), path)
    told = ": no file fits this pattern, or it stood in quotes"
    return f"{told}; a folder can be named, too: {printable(folder)}" if folder.is_dir() else told


def _is_pattern(path: Path) -> bool:
    return any(sign in str(path) for sign in "*?[")
