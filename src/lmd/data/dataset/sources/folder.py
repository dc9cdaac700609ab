"""A folder of images with one sub-folder for each class."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd

from lmd.data.dataset import grouping
from lmd.data.dataset.class_folders import ClassFolders, SortedImage
from lmd.data.dataset.finish import finish_raw
from lmd.data.dataset.grouping import Grouping
from lmd.data.dataset.labels import tell_missing_words
from lmd.data.dataset.locate import refuse_doubles, stem
from lmd.data.dataset.manifest import Dataset
from lmd.data.dataset.options import FoldOptions
from lmd.data.dataset.output import refuse_used
from lmd.data.dataset.spelling import refuse_twins
from lmd.data.dataset.usable import Skipped, existing_folder, without_bad_images
from lmd.data.decode.files import printable
from lmd.errors import DataError
from lmd.parallel import Steps, quiet

TITLE = "one folder for each class, also within train, val and test"
EXAMPLES = (
    "lmd prepare folder --root IMAGES --out DATA",
    "lmd prepare folder --root IMAGES --group-folders --out DATA",
)
_MASKS = ("_mask", "_segmentation", "_seg", "_gt", "_annotation")

_log = logging.getLogger(__name__)


class Options(FoldOptions):
    """`root` holds the class folders; each image is its own group unless its folder is one."""

    root: Path
    """folder that holds one folder for each class, or folders of splits that hold such"""
    split: Literal["image", "group", "lesion", "patient"] = "group"
    """images of one group stay in one split; image divides image by image"""
    group_folders: bool = False
    """folders below the class folders are patients: their images stay together"""


def prepare(options: Options, out: Path, progress: Steps = quiet) -> Dataset:
    """Makes a dataset folder of class folders; folders named as splits are taken as the splits.

    Hidden files and folders of systems are passed over and named; links to folders are followed for a class,
    not below it.

    Raises:
        DataError: a class folder is empty, folders are split and class at once, an image is there twice, or
            cannot be read.
    """
    refuse_used(out)
    root = existing_folder(options.root, "one sub-folder for each class")
    sorted_in = ClassFolders(root, options.exclude)
    images = sorted_in.images()
    for line in sorted_in.lines():
        _log.warning("%s", line)
    refuse_twins((image.folder for image in images), "the class folders")
    images, unnamed = _without_unnamed(images, options.skip_bad)
    refuse_doubles((image.file for image in images), root)
    _tell_masks(images)
    table = _table(images)
    tell_missing_words(table["label"])
    table["group"], groups = _groups(images, table["id"], options)
    classes = sorted(set(table["label"]))
    table, bad = without_bad_images(table, root, options, progress)
    grouping.tell(groups, table["group"])
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
        grouping=groups,
    )


def _table(images: Sequence[SortedImage]) -> pd.DataFrame:
    """The images under our names of columns; with a split where their folders say one."""
    rows = [(image.file, image.file, image.folder.strip(), image.split) for image in images]
    table = pd.DataFrame(rows, columns=["id", "file", "label", "split"])
    return table if table["split"].any() else table.drop(columns="split")


def _groups(images: Sequence[SortedImage], ids: pd.Series, options: Options) -> tuple[pd.Series, Grouping]:
    """The group of each image: the folder below its class folder, where that is said to be a patient."""
    deep = next((image for image in images if image.below), None)
    if options.group_folders:
        if deep is None:
            raise DataError(
                f"--group-folders: no image lies in a folder below its class folder in {options.root}"
            )
        folders = pd.DataFrame({"folder": [image.below for image in images]}, index=ids.to_numpy())
        groups, found = grouping.named_groups(
            folders, "folder", pd.Series(folders.index, folders.index), options.root, "refuse"
        )
        return groups.reset_index(drop=True), found.model_copy(update={"level": "patient"})
    if "split" in options.model_fields_set and options.split != "image":
        raise DataError(
            f"--split {options.split} needs to know the {options.split} of each image, and folders do not "
            "say it: use a table ('lmd prepare table'), --group-folders where folders below the classes are "
            "patients, or --split image"
        )
    if deep is not None:
        _log.warning(
            "images lie in folders below their class folders (such as %s): where such a folder is a patient, "
            "add "
            "--group-folders", printable(PurePosixPath(deep.file).parent.as_posix()),
        )  # fmt: skip
    return ids, Grouping(level="image")


def _tell_masks(images: Sequence[SortedImage]) -> None:
    """Tells of files that are named as the mask of another one: they would be trained on as images."""
    stems = {stem(image.file) for image in images}
    masks = [image.file for image in images if any(_base(image.file, end) in stems for end in _MASKS)]
    if masks:
        _log.warning(
            "%d files are named as masks of other images (first: %s); leave them out with --exclude '*%s*'",
            len(masks), printable(masks[0]), next(end for end in _MASKS if end in stem(masks[0])),
        )  # fmt: skip


def _base(file: str, end: str) -> str:
    """The stem of the image that a mask belongs to; "" where the name is none of a mask."""
    before, found, _ = stem(file).rpartition(end)
    return before if found else ""


def _is_text(name: str) -> bool:
    return name == name.encode(errors="replace").decode()


def _without_unnamed(images: list[SortedImage], skip_bad: bool) -> tuple[list[SortedImage], Skipped]:
    """Leaves out images whose name is no Unicode text, and so cannot stand in a manifest."""
    named = [image for image in images if _is_text(image.file)]
    unnamed = [printable(image.file) for image in images if not _is_text(image.file)]
    if unnamed and not skip_bad:
        raise DataError(
            f"the name of image '{unnamed[0]}' is not UTF-8 text ({len(unnamed)} such images); rename them, "
            "or leave them out with --skip-bad"
        )
    return named, [(name, "its name is not UTF-8 text") for name in unnamed]
