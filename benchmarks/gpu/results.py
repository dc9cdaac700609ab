"""What a GPU machine found, in files that are small enough to be carried away."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

MOST = 15_000_000  # Bytes of a file.
# Of the runs: what the tables were made from, and what a training said. No weights and no pixels.
_KEPT = (
    "*.json",
    "*.jsonl",
    "*.md",
    "table.csv",
    "*.svg",
    "logs/*.log",
    "runs/**/predictions-*.csv",
    "runs/**/metrics.jsonl",
    "runs/**/settings.yaml",
    "runs/**/environment.json",
    "runs/**/evaluation-test.json",
    "runs/**/model.json",
)


def pack(folder: Path, out: Path, most: int = MOST) -> list[Path]:
    """Writes the small files of an experiment's folder into archives of at most so many bytes."""
    return [
        _archive(files, folder, out / f"runs-{n}.tar.gz") for n, files in enumerate(_groups(folder, most), 1)
    ]


def _groups(folder: Path, most: int) -> Iterator[list[Path]]:
    """The files in groups that fit once they are compressed; one that never fits is left out."""
    group: list[Path] = []
    size = 0
    for path in sorted({path for pattern in _KEPT for path in folder.glob(pattern) if path.is_file()}):
        need = len(zlib.compress(path.read_bytes(), 6)) + 1024  # With its header.
        if need > most:
            print(f"left out, {need:,} bytes: {path}", flush=True)
            continue
        if size + need > most:
            yield group
            group, size = [], 0
        group.append(path)
        size += need
    if group:
        yield group


def _archive(files: list[Path], folder: Path, target: Path) -> Path:
    with tarfile.open(target, "w:gz", compresslevel=6) as archive:
        for path in files:
            archive.add(path, path.relative_to(folder))
    return target


def cut_logs(out: Path, most: int = MOST) -> None:
    """Keeps the end of a log that is too long."""
    for path in out.rglob("*.log"):
        if path.stat().st_size > most:
            path.write_bytes(path.read_bytes()[-most:])
