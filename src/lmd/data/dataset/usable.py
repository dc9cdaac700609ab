"""Which of the images that a table lists are there and can be read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lmd.data.dataset.meaning.locate import ImageIndex
from lmd.data.dataset.options import RawOptions
from lmd.data.decode.images import verify
from lmd.data.decode.members import image_path
from lmd.errors import DataError
from lmd.parallel import Steps
from lmd.settings import Tree
from lmd.text import numbered, them

_log = logging.getLogger(__name__)

Skipped = list[tuple[str, str]]  # A file and why it was left out.


def without_bad_images(
    table: pd.DataFrame, root: Path, options: RawOptions, progress: Steps
) -> tuple[pd.DataFrame, Skipped]:
    """Decodes every image; returns the table of the good ones, and the bad ones with reasons.

    Raises:
        DataError: an image cannot be read and the option `skip_bad` was not given.
    """
    paths = [image_path(root, file) for file in table["file"]]
    reasons = verify(paths, progress, options.frame, options.bits)
    if reasons and not options.skip_bad:
        first = next(iter(reasons.values()))
        number = len(reasons)
        raise DataError(
            f"{first} ({numbered(number, 'such image')}; leave {them(number)} out with --skip-bad)"
        )
    good = np.array([path not in reasons for path in paths], dtype=bool)
    bad = [(file, reasons[image_path(root, file)]) for file in table["file"][~good]]
    return table[good].reset_index(drop=True), bad


def located(
    table: pd.DataFrame, root: Path, allow_missing: bool, exclude: Sequence[str] = ()
) -> tuple[pd.DataFrame, int]:
    """Gives each image the file of its name below `root`, whatever its folder, extension and case.

    Returns the table of the images that are there, and how many are not.

    Raises:
        DataError: images are missing and may not be, or one is there twice.
    """
    index = ImageIndex(root, exclude)
    files = [index.of_stem(file) for file in table["file"]]
    double = next((places for places in files if len(places) > 1), None)
    if double is not None:
        raise DataError(
            f"an image is in {root} twice: {double[0]} and {double[1]}; delete one, or leave it out with "
            "--exclude"
        )
    there = np.array([bool(places) for places in files], dtype=bool)
    missing = table["id"][~there]
    are = "is" if len(missing) == 1 else "are"
    if len(missing) and not allow_missing:
        raise DataError(
            f"{len(missing)} of {len(table)} images {are} missing in {root} (first: {missing.iloc[0]}); "
            f"go on without {them(len(missing))} with --allow-missing"
        )
    if len(missing):
        _log.warning("%d of %d images %s missing and left out", len(missing), len(table), are)
    kept = table[there].assign(file=[places[0] for places in files if places])
    return kept.reset_index(drop=True), len(missing)


def usable(
    table: pd.DataFrame, root: Path | None, options: Any, progress: Steps
) -> tuple[pd.DataFrame, Skipped, Tree]:
    """Returns the images to list: all with `list_only`, else those that are there and can be decoded.

    Also returns those left out as bad, and what the recipe says of the missing.
    """
    if options.list_only:
        return table, [], {}
    if root is None:
        raise DataError("where are the images? name their folder with --root, or go without with --list-only")
    there, missing = located(
        table, existing_folder(root, "the images"), options.allow_missing, options.exclude
    )
    good, bad = without_bad_images(there, root, options, progress)
    return good, bad, {"missing_images": missing}


def existing_folder(path: Path, what: str) -> Path:
    """Returns a folder that must exist.

    Raises:
        DataError: it does not.
    """
    if not path.is_dir():
        raise DataError(f"no folder {path} ({what})")
    return path.resolve()
