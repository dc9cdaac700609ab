"""The verb that shows a run: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmd.cli.app import Run, app, one_of, say
from lmd.cli.names import SPLITS
from lmd.cli.runs import check_run
from lmd.cli.verbs import Verb


@app.command(
    cls=Verb,
    short_help="Writes a run's report with pictures of its mistakes",
    epilog="lmd report RUN\nlmd report RUN --split val --data DATA",
)
def report(
    run: Run,
    split: Annotated[str, one_of(SPLITS, "the split whose mistakes are shown")] = "test",
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="the data set, where it is not where the run knows it")
    ] = None,
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="open no image: a page that holds no picture of a case")
    ] = False,
) -> None:
    """Writes report.html anew: numbers for three readers, and pictures of the worst mistakes."""
    check_run(run)
    from lmd.api.data import read_dataset
    from lmd.api.runs import report as write

    dataset = None if data is None else read_dataset(data)
    path = write(run, split, data=dataset, pictures=not no_pictures, say=say)
    say(f"report: {path}")
