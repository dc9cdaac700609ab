"""What is refused before a model is loaded for reports."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from lmd.data.decode.dicom_marks import is_dicom
from lmd.data.decode.files import printable
from lmd.errors import DataError
from lmd.extras import how_to_install

_HEAD = 2048


def refuse_existing(out: Path) -> None:
    """Refuses a folder that is there.

    Raises:
        DataError: it is.
    """
    if out.exists():
        raise DataError(f"output folder {out} exists already: name a new one with --dicom-sr")


def refuse_others(files: Sequence[Path]) -> None:
    """Refuses files that are not DICOM, and all of them where highdicom is not installed.

    Raises:
        DataError: one line that names the first file, or what to install.
    """
    if any(importlib.util.find_spec(name) is None for name in ("pydicom", "highdicom")):
        raise DataError(f"--dicom-sr needs more to be installed: {how_to_install('sr')}")
    for file in files:
        if file.is_file() and not _is_dicom(file):
            raise DataError(
                f"image {printable(file)} is not DICOM: --dicom-sr writes a report into the study of a DICOM "
                "image; leave this file out, or --dicom-sr"
            )


def _is_dicom(file: Path) -> bool:
    """Whether a file is DICOM; one that cannot be opened is refused when it is read."""
    try:
        with file.open("rb") as opened:
            return is_dicom(opened.read(_HEAD))
    except OSError:
        return True
