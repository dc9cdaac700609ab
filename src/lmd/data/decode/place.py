"""Where decoded pixels and hashes of a data set are kept: beside it, or elsewhere where it is read-only."""

from __future__ import annotations

import logging
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmd.data.dataset.manifest import Dataset

_log = logging.getLogger(__name__)


def cache_folder(dataset: Dataset) -> Path:
    """Returns where to keep what is made of a data set: DATA/cache, or elsewhere where that is read-only.

    Elsewhere is a folder under LMD_CACHE or, where that is not set, under the user's own cache folder.
    """
    beside = dataset.folder / "cache"
    if _can_write(beside):
        return beside
    named = os.environ.get("LMD_CACHE") or os.environ.get("XDG_CACHE_HOME")
    places = [Path(named)] if named else [Path.home() / ".cache", Path(tempfile.gettempdir())]
    place = next((place for place in places if _can_write(place)), places[-1])
    folder = place / f"lmd-{os.getuid() if hasattr(os, 'getuid') else 0}" / dataset.info.manifest_sha256[:16]
    _say_once(beside, folder)
    return folder


def _can_write(folder: Path) -> bool:
    there = next(part for part in (folder, *folder.absolute().parents) if part.exists())
    return os.access(there, os.W_OK)


@cache
def _say_once(beside: Path, folder: Path) -> None:
    text = "%s cannot be written: decoded images are kept in %s (LMD_CACHE=DIR names another place)"
    _log.warning(text, beside, folder)
