"""The verb about several finished runs: compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmd.cli.app import TauRule, app, one_of, say
from lmd.cli.names import SPLITS
from lmd.cli.verbs import Verb
from lmd.errors import SettingsError


@app.command(
    cls=Verb,
    short_help="Compares runs on the same images: which can be told apart",
    epilog="lmd compare RUN1 RUN2 RUN3 --out COMPARISON\nlmd compare RUN1 RUN2 --data OTHER --tau validation",
)
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="run folders; those that differ by seed alone are one method"),
    ],
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="another dataset folder than the runs' own")
    ] = None,
    split: Annotated[str, one_of(SPLITS, "the images to compare on")] = "test",
    tau: TauRule = "0",
    metric: Annotated[
        str,
        typer.Option(metavar="NAME", help="what they are ranked by: bacc, auc, f1, mcc ... or a band: tail"),
    ] = "bacc",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="a folder for compare.html, JSON, CSV and the figure")
    ] = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="measure images that a run was trained on, too")
    ] = False,
) -> None:
    """Compares runs on the same images: paired differences, Holm's correction, groups not told apart."""
    from lmd.runtime import refuse_several_processes

    refuse_several_processes()
    if out is not None and out.exists() and not out.is_dir():
        raise SettingsError(f"output folder {out} is a file: name a folder")
    from lmd.comparing.runs import rows_of

    rows_of(runs)  # Before torch is loaded.
    from lmd.api.data import read_dataset
    from lmd.api.several import compare as compare_runs
    from lmd.reporting.versus import comparison_text
    from lmd.terminal import bar

    dataset = None if data is None else read_dataset(data)
    with bar(f"predicting {split}") as progress:
        found = compare_runs(
            runs, data=dataset, split=split, tau=tau, metric=metric, out=out,
            allow_overlap=allow_overlap, progress=progress,
        )  # fmt: skip
    for line in comparison_text(found):
        say(line)
    if out is not None:
        say(f"page: {out / 'compare.html'}")
