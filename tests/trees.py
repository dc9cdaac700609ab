"""Trees of folders as tests make them, and the advice of a refusal followed word by word."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lmd.data.dataset.manifest import Dataset
from lmd.errors import DataError
from tests.messy import Messy, picture


def tree(root: Path, files: Iterable[str]) -> Path:
    """Writes a small image under each name; other endings become a file of text."""
    for number, name in enumerate(files):
        path = root / name
        if path.suffix in (".txt", ".csv", ".json", ".md", ".zip"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("no image")
        else:
            picture(path.with_name(f"new{number}.png"), number).rename(path)
    return root


def each(*levels: Sequence[str], images: int = 3, alike: bool = False) -> list[str]:
    """Names of images in all folders of some levels; `alike`, the same names in each folder."""
    folders = itertools.product(*levels)
    return [
        "/".join((*folder, f"x{number}.png" if alike else f"{'-'.join(folder)}-{number}.png"))
        for folder in folders
        for number in range(images)
    ]


def refusal(messy: Messy, root: Path, **options: Any) -> str:
    """What the source says against a tree: one line."""
    with pytest.raises(DataError) as caught:
        messy.folder(root, **options)
    assert "\n" not in str(caught.value)
    assert not messy.out.exists()
    return str(caught.value)


def advised(message: str, option: str) -> list[str]:
    """The values of an option in a message, as a shell would take them."""
    words = message.split(option + " ")[1:]
    return [shlex.split(word.partition("; ")[0])[0].rstrip(",") for word in words]


def following(messy: Messy, message: str, root: Path, **options: Any) -> Dataset:
    """What becomes of a tree with the patterns that a message advises to exclude."""
    return messy.folder(root, exclude=tuple(advised(message, "--exclude")), **options)
