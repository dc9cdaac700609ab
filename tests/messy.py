"""Messy tables and folders as tests make them: small images, a table beside them, and the source's answer."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lmd.data.dataset.manifest import Dataset
from lmd.data.dataset.sources import folder, table
from lmd.settings import resolve
from tests import toy

LABELS = ("melanoma", "nevus")


def picture(path: Path, number: int = 0) -> Path:
    """Writes a small image, each number another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(toy.draw(number % 2, number, 12)).save(path)
    return path


def cases(number: int = 24, **columns: Sequence[str]) -> dict[str, list[str]]:
    """Columns of a table of images x00.png, x01.png, ... of two labels in turn, and others in place or beside."""
    sound = {
        "image": [f"x{row:02d}.png" for row in range(number)],
        "label": [LABELS[row % 2] for row in range(number)],
    }
    return {**sound, **{name: list(values) for name, values in columns.items()}}


def persons(number: int = 24, each: int = 4) -> list[str]:
    """Ids of persons with `each` images one after the other, so that each has both labels."""
    return [f"P{row // each}" for row in range(number)]


def written(path: Path, columns: Mapping[str, Sequence[str]], **format: Any) -> Path:
    """Writes columns as a CSV file."""
    with path.open("w", newline="", encoding=format.pop("encoding", "utf-8")) as file:
        writer = csv.writer(file, **format)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


class Messy:
    """A folder with images x00.png ... and what the sources make of a table or of class folders in it."""

    def __init__(self, path: Path, caplog: pytest.LogCaptureFixture, number: int = 24) -> None:
        self.path, self.root, self.log = path, path / "images", caplog
        for row in range(number):
            picture(self.root / f"x{row:02d}.png", row)
        caplog.set_level(logging.WARNING)

    @property
    def out(self) -> Path:
        return self.path / "data"

    def like_ham10000(self) -> dict[str, list[str]]:
        """Writes images into two folders, and returns the columns of a table that names them alone."""
        for row in range(24):
            picture(self.root / f"HAM10000_images_part_{row % 2 + 1}" / f"ISIC_{row:07d}.jpg", row)
        return {
            "lesion_id": [f"HAM_{row // 2:07d}" for row in range(24)],
            "image_id": [f"ISIC_{row:07d}" for row in range(24)],
            "dx": ["nv", "mel"] * 12,
        }

    def table(self, columns: Mapping[str, Sequence[str]] | Path, **options: Any) -> Dataset:
        path = columns if isinstance(columns, Path) else written(self.path / "cases.csv", columns)
        chosen = resolve(table.Options, {"root": self.root, "table": path, **options})
        return table.prepare(chosen, self.out)

    def folder(self, root: Path, **options: Any) -> Dataset:
        return folder.prepare(resolve(folder.Options, {"root": root, **options}), self.out)

    def told(self) -> str:
        """What was said aloud."""
        return "\n".join(self.log.messages)
