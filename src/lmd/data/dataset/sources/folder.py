"""A folder of images with one sub-folder for each class."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import pandas as pd
from pydantic import Field

from lmd.data.dataset.finish import finish_raw
from lmd.data.dataset.folders.class_folders import ClassFolders, SortedImage
from lmd.data.dataset.folders.doubles import refuse_doubles
from lmd.data.dataset.folders.folder_groups import folder_groups, tell_groups
from lmd.data.dataset.folders.folder_levels import tells_no_class, told_versions
from lmd.data.dataset.folders.masks import told_masks
from lmd.data.dataset.manifest import Dataset
from lmd.data.dataset.meaning import grouping
from lmd.data.dataset.meaning.grouping import Grouping, SimilarIds
from lmd.data.dataset.meaning.labels import tell_missing_words
from lmd.data.dataset.meaning.spelling import refuse_twins
from lmd.data.dataset.options import FoldOptions
from lmd.data.dataset.output import refuse_used
from lmd.data.dataset.usable import Skipped, existing_folder, without_bad_images
from lmd.data.decode.files import printable
from lmd.errors import DataError
from lmd.parallel import Steps, quiet
from lmd.text import numbered, them

TITLE = "one folder for each class, also within train, val and test"
EXAMPLES = (
    "lmd prepare folder --root IMAGES --out DATA",
    "lmd prepare folder --root IMAGES --group-folders --out DATA",
)

_log = logging.getLogger(__name__)


class Options(FoldOptions):
    """`root` holds the class folders; each image is its own group unless its folder is one."""

    root: Path
    """folder that holds one folder for each class, or folders of splits that hold such"""
    split: Literal["image", "group", "lesion", "patient"] = "group"
    """images of one group stay in one split; image divides image by image"""
    group_folders: bool = False
    """the first folder below the class folder is the patient: its images stay together"""
    group_depth: Annotated[int, Field(ge=1)] | None = None
    """which folder below the class folder is the patient, counted from 1, where there are several"""
    similar_ids: SimilarIds = "refuse"
    """folders of patients whose names are alike, as P1 and p1: refuse, merge or keep them apart"""


def prepare(options: Options, out: Path, progress: Steps = quiet) -> Dataset:
    """Makes a dataset folder of class folders; folders named as splits are taken as the splits.

    Hidden files and folders of systems are passed over and named; links to folders are followed for a class,
    not below it.

    Raises:
        DataError: a class folder is empty, folders may be splits, classes or masks, an image is there
            twice, or cannot be read.
    """
    refuse_used(out)
    root = existing_folder(options.root, "one sub-folder for each class")
    grouped = options.group_folders or options.group_depth is not None
    sorted_in = ClassFolders(root, options.exclude, grouped)
    images = sorted_in.images()
    for line in sorted_in.lines():
        _log.warning("%s", line)
    refuse_twins((image.folder for image in images), "the class folders")
    images, unnamed = _without_unnamed(images, options.skip_bad)
    refuse_doubles((image.file for image in images), root)
    for line in (*told_masks([image.file for image in images]), *told_versions(i.below for i in images)):
        _log.warning("%s", line)
    table = _table(images)
    tell_missing_words(table["label"], "--exclude")
    table["group"], groups = _groups(images, table["id"], options)
    classes = sorted(set(table["label"]))
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
        grouping=groups,
    )


def _table(images: Sequence[SortedImage]) -> pd.DataFrame:
    """The images under our names of columns; with a split where their folders say one."""
    rows = [(image.file, image.file, image.folder.strip(), image.split) for image in images]
    table = pd.DataFrame(rows, columns=["id", "file", "label", "split"])
    return table if table["split"].any() else table.drop(columns="split")


def _groups(images: Sequence[SortedImage], ids: pd.Series, options: Options) -> tuple[pd.Series, Grouping]:
    """The group of each image: a folder below its class folder, where that is said to be a patient."""
    if options.group_folders or options.group_depth is not None:
        groups, found = folder_groups(images, options.group_depth, options.similar_ids, options.root)
        tell_groups(groups, found, images)
        return groups, found
    if "split" in options.model_fields_set and options.split != "image":
        raise DataError(
            f"--split {options.split} needs to know the {options.split} of each image, and folders do not "
            "say it: use a table ('lmd prepare table'), --group-folders where folders below the classes are "
            "patients, or --split image"
        )
    _tell_folders(images)
    grouping.tell(found := Grouping(level="image"), ids)
    return ids, found


def _tell_folders(images: Sequence[SortedImage]) -> None:
    """Tells of folders below the classes that are not used: they may be patients, or the classes."""
    deep = next((image for image in images if image.below and not tells_no_class(image.below)), None)
    if deep is not None:
        _log.warning(
            "images lie in folders below their class folders (such as %s, taken as class %s): where such "
            "a folder is a patient, add --group-folders; where it is the class, give a folder above it "
            "as --root",
            printable(PurePosixPath(deep.file).parent.as_posix()), printable(deep.folder),
        )  # fmt: skip


def _is_text(name: str) -> bool:
    return name == name.encode(errors="replace").decode()


def _without_unnamed(images: list[SortedImage], skip_bad: bool) -> tuple[list[SortedImage], Skipped]:
    """Leaves out images whose name is no Unicode text, and so cannot stand in a manifest."""
    named = [image for image in images if _is_text(image.file)]
    unnamed = [printable(image.file) for image in images if not _is_text(image.file)]
    if unnamed and not skip_bad:
        word = them(len(unnamed))
        raise DataError(
            f"the name of image '{unnamed[0]}' is not UTF-8 text ({numbered(len(unnamed), 'such image')}); "
            f"rename {word}, or leave {word} out with --skip-bad"
        )
    return named, [(name, "its name is not UTF-8 text") for name in unnamed]
