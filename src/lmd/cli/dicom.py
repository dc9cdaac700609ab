"""The options of `predict` that write DICOM, and what is done for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from lmd.cli.app import say
from lmd.errors import SettingsError

if TYPE_CHECKING:
    import pandas as pd

    from lmd.evaluation.predict import Model

DicomSr = Annotated[
    Path | None,
    typer.Option(
        "--dicom-sr",
        metavar="DIR",
        help="a folder to make, with a DICOM report for each DICOM image (docs/dicom-sr.md)",
    ),
]
HeatMap = Annotated[
    bool, typer.Option("--dicom-heatmap", help="with --dicom-sr: a heat map of each decision as well")
]
Codes = Annotated[
    Path | None,
    typer.Option(
        "--dicom-codes",
        metavar="FILE",
        help="with --dicom-sr: a CSV file of the classes' codes: class, code, meaning",
    ),
]


class Reports(NamedTuple):
    """The reports that are asked for; none without a folder."""

    out: Path | None
    heat_map: bool
    codes: Path | None

    def check(self, files: Sequence[Path], classes: Sequence[str]) -> None:
        """Looks at all that can be wrong before a model is loaded.

        Raises:
            SettingsError: an option without --dicom-sr.
            DataError: an image is no DICOM, the folder is there, or a code is none.
        """
        if self.out is None:
            given = {"--dicom-heatmap": self.heat_map, f"--dicom-codes {self.codes}": self.codes is not None}
            for text in (text for text, is_given in given.items() if is_given):
                raise SettingsError(f"{text}: it is for reports; name a folder for them with --dicom-sr DIR")
            return
        from lmd.deployment.dicom.codes import class_words
        from lmd.deployment.dicom.refusals import refuse_existing, refuse_others

        refuse_existing(self.out)
        refuse_others(files)
        class_words(classes, self.codes)

    def write(self, model: Model, answers: pd.DataFrame, frame: int | None, prior: str | None) -> None:
        """Writes them, if they are asked for, and says so."""
        if self.out is None:
            return
        from lmd.api.dicom import dicom_reports
        from lmd.terminal import bar

        note = "" if prior is None else f"probabilities and decision at the prior: {Path(prior).name}"
        with bar("writing reports") as progress:
            made = dicom_reports(
                model, answers, self.out,
                heat_map=self.heat_map, codes=self.codes, frame=frame, note=note, progress=progress,
            )  # fmt: skip
        say(f"{len(made)} DICOM files, for research use only: {self.out}", err=True)
