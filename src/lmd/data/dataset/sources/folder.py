"""A folder of images with one sub-folder for each class."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import pandas as pd

from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.finish import finish_raw
from lmd.data.dataset.manifest import Dataset
from lmd.data.dataset.options import FoldOptions
from lmd.data.dataset.output import refuse_used
from lmd.data.dataset.sources.table import split_name
from lmd.data.dataset.usable import Skipped, existing_folder, refuse_twins, without_bad_images
from lmd.data.decode.files import EXTENSIONS, list_images, printable
from lmd.errors import DataError
from lmd.parallel import Steps, quiet

TITLE = "a folder with one sub-folder for each class (or train/val/test folders of such)"

_log = logging.getLogger(__name__)


class Options(FoldOptions):
    """`root` holds the class folders; each image is its own group."""

    root: Path
    split: Literal["image", "group", "lesion", "patient"] = "group"


def prepare(options: Options, out: Path, progress: Steps = quiet) -> Dataset:
    """Makes a dataset folder of class folders; folders named train, val and test are taken as the splits.

    Hidden files and folders are passed over; links to folders are followed for a class, not below it.

    Raises:
        DataError: a class folder is empty, folders are split and class at once, or an image cannot be read.
    """
    refuse_used(out)
    root = existing_folder(options.root, "one sub-folder for each class")
    rows = [row for folder, split in _places(root) for row in _rows(root, folder, split)]
    refuse_twins((row["folder"] for row in rows), "the class folders")
    rows, unnamed = _without_unnamed(rows, options.skip_bad)
    classes = sorted({row["label"] for row in rows})
    table = pd.DataFrame(rows, columns=["id", "file", "label", "split"])
    table["group"] = table["id"]
    if (table["split"] == "").all():
        table = table.drop(columns="split")
    table, bad = without_bad_images(table, root, options, progress)
    return finish_raw(
        out,
        table,
        classes,
        options,
        unnamed + bad,
        folds=options.folds,
        title=root.name,
        licence="not stated",
        citation="not stated",
        source="folder",
        image_root=str(root),
    )


def _places(root: Path) -> list[tuple[Path, str]]:
    """The folders of class folders, each with its split: the root itself, or the folders of the splits."""
    names = {folder: split_name(folder.name) for folder in _folders(root)}
    given = {split: folder for folder, split in names.items() if split in SPLITS}
    if not given:
        return [(root, "")]
    others = [folder.name for folder in names if folder not in given.values()]
    if others:
        raise DataError(
            f"{root} has folders of splits ({next(iter(given.values())).name}) and others ({others[0]}): "
            "sort the images either by split and class, or by class alone"
        )
    return [(given[split], split) for split in SPLITS if split in given]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _rows(root: Path, parent: Path, split: str) -> list[dict[str, str]]:
    """The images below one level of class folders."""
    folders = _folders(parent)
    if not folders:
        raise DataError(f"{parent} has no class folders")
    loose = sum(path.suffix.lower() in EXTENSIONS and path.is_file() for path in parent.iterdir())
    if loose:
        _log.warning("%d images in %s lie in no class folder and are left out", loose, parent)
    rows: list[dict[str, str]] = []
    for folder in folders:
        files = list_images(folder)
        if not files:
            raise DataError(f"class '{folder.name}' is empty: {folder} has no image")
        for file in files:
            name = file.relative_to(root).as_posix()
            row = {"id": name, "file": name, "label": folder.name.strip(), "split": split}
            rows.append({**row, "folder": folder.name})
    return rows


def _is_text(name: str) -> bool:
    return name == name.encode(errors="replace").decode()


def _without_unnamed(rows: list[dict[str, str]], skip_bad: bool) -> tuple[list[dict[str, str]], Skipped]:
    """Leaves out images whose name is no Unicode text, and so cannot stand in a manifest."""
    named = [row for row in rows if _is_text(row["file"])]
    unnamed = [printable(row["file"]) for row in rows if not _is_text(row["file"])]
    if unnamed and not skip_bad:
        raise DataError(
            f"the name of image '{unnamed[0]}' is not UTF-8 text ({len(unnamed)} such images); rename them, "
            "or leave them out with --skip-bad"
        )
    return named, [(name, "its name is not UTF-8 text") for name in unnamed]
