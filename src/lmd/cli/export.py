"""The verb by which a trained model leaves its run: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmd.cli.app import Run, app, one_of, say
from lmd.cli.names import SPLITS
from lmd.cli.runs import check_run
from lmd.cli.verbs import Verb

FORMATS = "onnx|torch|monai"


@app.command(
    cls=Verb,
    short_help="Writes a model for programs without lmd: ONNX, torch, MONAI",
    epilog="lmd export RUN --int8 --out MODEL\nlmd export RUN --format torch --images new/ --out MODEL",
)
def export(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="the folder to make (default: export-onnx or so in RUN)"),
    ] = None,
    format: Annotated[
        str, one_of(FORMATS, "an ONNX file, a program of torch.export, or a MONAI bundle")
    ] = "onnx",
    fp16: Annotated[
        bool, typer.Option("--fp16", help="also an ONNX file of half the size, and what it loses")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="also an ONNX file of a quarter of the size, and what it loses")
    ] = False,
    images: Annotated[
        list[Path] | None,
        typer.Option(metavar="IMAGE", help="verify on this file or folder; may be given again"),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="another dataset folder than the run's own")
    ] = None,
    split: Annotated[str, one_of(SPLITS, "on which --fp16 and --int8 are measured")] = "test",
) -> None:
    """Writes the trained model with all around it, once it agrees with the network on real images."""
    check_run(run)
    from lmd.deployment.export.asked import Asked

    asked = Asked(format, fp16, int8, images or (), split)
    place = asked.place(run, out)
    asked.check(place)
    from lmd.api.data import read_dataset
    from lmd.api.deployed import export as write
    from lmd.terminal import bar

    dataset = None if data is None else read_dataset(data)
    with bar("measuring") as progress:
        found = write(run, out=place, format=format, fp16=fp16, int8=int8, images=images or (), data=dataset,
                      split=split, progress=progress)  # fmt: skip
    say(found.agreement.line())
    for name, loss in found.variants.items():
        say(loss.line(name))
    say(f"export: {place} ({', '.join(name for name in found.files if name.endswith(('.onnx', '.pt2')))})")
