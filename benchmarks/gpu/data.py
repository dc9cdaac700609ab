"""The folder that a GPU machine is given: images in a few files, a table of them, weights and wheels."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

TABLE, IMAGES, WEIGHTS, WHEELS = "cases.csv", "images-{}.bin", "weights.safetensors", "whl"
COLUMNS = ("file", "label", "group", "bytes")
_PART = 15_000_000  # Bytes of a file of images.


@dataclass(frozen=True)
class Case:
    """An image: its file's name, its class, whom it shows, and its bytes."""

    file: str
    label: str
    group: str
    content: bytes


def write(cases: Iterable[Case], folder: Path) -> int:
    """Writes images one behind the other into files of a bounded size, and their table; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    written, part, size = 0, 1, 0
    file = (folder / IMAGES.format(part)).open("wb")
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as table:
        rows = csv.writer(table)
        rows.writerow(COLUMNS)
        for case in cases:
            if size + len(case.content) > _PART:
                file.close()
                part, size = part + 1, 0
                file = (folder / IMAGES.format(part)).open("wb")
            size += file.write(case.content)
            written += 1
            rows.writerow([case.file, case.label, case.group, len(case.content)])
    file.close()
    return written


def read(folder: Path) -> Iterator[Case]:
    """Yields the images of a folder in the order of its table."""
    part, file = 1, (folder / IMAGES.format(1)).open("rb")
    with (folder / TABLE).open(newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            content = file.read(int(row["bytes"]))
            if not content:
                file.close()
                part += 1
                file = (folder / IMAGES.format(part)).open("rb")
                content = file.read(int(row["bytes"]))
            yield Case(row["file"], row["label"], row["group"], content)
    file.close()


def unpack(folder: Path, to: Path) -> None:
    """Writes each image into a file of its own; the table stays as it is."""
    to.mkdir(parents=True, exist_ok=True)
    for case in read(folder):
        (to / case.file).write_bytes(case.content)
    shutil.copy(folder / TABLE, to.parent / TABLE)
