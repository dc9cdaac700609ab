"""The folds of both data sets, from the shared folder, or from one that was packed for a GPU machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu.data import TABLE, unpack
from benchmarks.gpu.data import WEIGHTS as PACKED
from benchmarks.win.rows import DOMAINS

WEIGHTS = "resnet18_imagenet_partial.safetensors"


def from_shared(shared: Path, target: Path) -> None:
    """Makes the folds of both data sets, and puts the weights beside them."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(shared / "weights" / WEIGHTS, target / WEIGHTS)
    images, cells = shared / "data" / "isic2019", shared / "data" / "chula_rbc"
    lmd(
        "prepare",
        "isic2019",
        "--root",
        images,
        "--allow-missing",
        "--split",
        "lesion",
        *divided("isic", target),
    )
    from_table(cells / "labels.csv", cells, "rbc", target)


def from_packed(packed: Path, target: Path) -> None:
    """Makes the folds of the images of ISIC 2019 that `benchmarks.gpu_pack` packed."""
    target.mkdir(parents=True, exist_ok=True)
    images = target / "packed" / "images"
    unpack(packed, images)
    shutil.copy(packed / PACKED, target / WEIGHTS)
    from_table(images.parent / TABLE, images, "isic", target, "--ignore-column", "bytes")


def from_table(table: Path, root: Path, name: str, target: Path, *more: str) -> None:
    """Makes the folds of a table of images."""
    columns = ("--image-column", "file", "--group-column", "group", *more)
    lmd("prepare", "table", "--table", table, "--root", root, *columns, *divided(name, target))


def divided(name: str, target: Path) -> tuple[object, ...]:
    """The options that divide a data set into its folds."""
    return ("--folds", DOMAINS[name].folds, "--seed", 42, "--out", target / name)


def lmd(*words: object) -> None:
    """Runs the command."""
    subprocess.run([sys.executable, "-m", "lmd", *map(str, words)], check=True)
