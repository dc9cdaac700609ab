"""A folder of images with one sub-folder for each class."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lmd.data.images import Progress, list_images, quiet
from lmd.data.manifest import SPLITS, Dataset, refuse_used
from lmd.data.sources._common import RawOptions, existing_folder, finish_raw, without_bad_images
from lmd.errors import DataError

TITLE = "a folder with one sub-folder for each class (or train/val/test folders of such)"


class Options(RawOptions):
    """`root` holds the class folders; each image is its own group."""


def prepare(options: Options, out: Path, progress: Progress = quiet) -> Dataset:
    """Makes a dataset folder of class folders; folders named train, val and test are taken as the splits.

    Raises:
        DataError: a class folder is empty, or an image cannot be read.
    """
    refuse_used(out)
    root = existing_folder(options.root, "one sub-folder for each class")
    given = [name for name in SPLITS if (root / name).is_dir()]
    rows = [row for split in given or [""] for row in _rows(root, split)]
    classes = sorted({row["label"] for row in rows})
    table = pd.DataFrame(rows).assign(group=lambda table: table["id"])
    if not given:
        table = table.drop(columns="split")
    table, bad = without_bad_images(table, root, options, progress)
    return finish_raw(
        out,
        table,
        classes,
        options,
        bad,
        title=root.name,
        licence="not stated",
        citation="not stated",
        source="folder",
        image_root=str(root),
    )


def _rows(root: Path, split: str) -> list[dict[str, str]]:
    """The images below one level of class folders."""
    folders = sorted(
        path for path in (root / split).iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    if not folders:
        raise DataError(f"{root / split} has no class folders")
    rows: list[dict[str, str]] = []
    for folder in folders:
        files = list_images(folder)
        if not files:
            raise DataError(f"class '{folder.name}' is empty: {folder} has no image")
        for file in files:
            relative = file.relative_to(root).as_posix()
            rows.append({"id": relative, "file": relative, "label": folder.name, "split": split})
    return rows
