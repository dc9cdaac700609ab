"""The Python interface to DICOM reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lmd.parallel import Steps, quiet

if TYPE_CHECKING:
    import pandas as pd

    from lmd.evaluation.predict import Model


def dicom_reports(
    model: Model,
    answers: pd.DataFrame,
    out: Path | str,
    *,
    heat_map: bool = False,
    codes: Path | str | None = None,
    frame: int | None = None,
    note: str = "",
    progress: Steps = quiet,
) -> list[Path]:
    """Writes a DICOM report (TID 1500) for each answer into a new folder, and returns the files' paths.

    Each is in the study of its image, with new UIDs. Research use only. It needs the extra `sr`.

    Args:
        model: what `lmd.load` gave.
        answers: what `model.predict` gave for DICOM images: `id` is the file of an image.
        out: the folder to make.
        heat_map: write a heat map (Grad-CAM) of the decided class as well, as a secondary capture.
        codes: a CSV file with the columns class, code, meaning and perhaps scheme (default: SCT, SNOMED CT).
        frame: the frame that was predicted, of files that hold several.
        note: what else is to be said of the answers, such as "prior: uniform".
        progress: called with the images that are done and all of them.

    Raises:
        DataError: an image is no DICOM or does not say which it is, the folder is there, or a code is none.
    """
    from lmd.deployment.dicom.reports import Asked, write_reports

    return write_reports(model, answers, Path(out), Asked(heat_map, codes, frame, note), progress)
