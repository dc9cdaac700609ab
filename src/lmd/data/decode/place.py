"""Where decoded pixels and hashes of a data set are kept: beside it, or elsewhere where it is read-only."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lmd.data.dataset.info import FOLDS

if TYPE_CHECKING:
    from lmd.data.dataset.manifest import Dataset

_log = logging.getLogger(__name__)


def cache_folder(dataset: Dataset) -> Path:
    """Returns where to keep what is made of a data set: DATA/cache, or elsewhere where that is read-only.

    Elsewhere is a folder under LMD_CACHE or, where that is not set, under the user's own cache folder. The
    folds of one data set have the same images: they share FOLDS/cache.
    """
    home = _home(dataset.folder)
    beside = home / "cache"
    if _can_write(beside):
        return beside
    named = os.environ.get("LMD_CACHE") or os.environ.get("XDG_CACHE_HOME")
    places = [Path(named)] if named else [Path.home() / ".cache", Path(tempfile.gettempdir())]
    place = next((place for place in places if _can_write(place)), places[-1])
    key = dataset.info.manifest_sha256 if home == dataset.folder else _sha256(home)
    folder = place / f"lmd-{os.getuid() if hasattr(os, 'getuid') else 0}" / key[:16]
    _say_once(beside, folder)
    return folder


def _home(folder: Path) -> Path:
    """The folds folder that a dataset folder lies in, or itself where it is alone."""
    above = folder.absolute().parents[:2]  # FOLDS/fold-1, or FOLDS/repeat-1/fold-1
    return next((part for part in above if (part / FOLDS).is_file()), folder)


def _sha256(home: Path) -> str:
    return hashlib.sha256((home / FOLDS).read_bytes()).hexdigest()


def _can_write(folder: Path) -> bool:
    there = next(part for part in (folder, *folder.absolute().parents) if part.exists())
    return os.access(there, os.W_OK)


@cache
def _say_once(beside: Path, folder: Path) -> None:
    text = "%s cannot be written: decoded images are kept in %s (LMD_CACHE=DIR names another place)"
    _log.warning(text, beside, folder)
