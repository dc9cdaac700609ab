"""The verbs about features of a frozen encoder: embed, fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmd.cli.app import Data, PartialWeights, Set, app, one_of, say
from lmd.cli.names import within
from lmd.cli.verbs import Verb
from lmd.cli.words import NUMBER
from lmd.text import numbered

CROPS = "none|center"


@app.command(
    cls=Verb,
    short_help="Writes the features that a frozen encoder makes of images",
    epilog="lmd embed DATA --encoder tf_efficientnet_lite0 --weights FILE --out FEATURES\n"
    "lmd embed DATA --run RUN --out FEATURES",
)
def embed(
    data: Data,
    out: Annotated[Path, typer.Option(metavar="DIR", help="the features folder to make")],
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="any timm name, with or without tag (default: resnet18)"),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|RUN",
            help="the encoder's: a safetensors file, package:efficientnet-lite0, a run (default: a download)",
        ),
    ] = None,
    partial_weights: PartialWeights = False,
    run: Annotated[
        Path | None,
        typer.Option(  # Named, because typer 0.27 calls an option as its metavar where case alone differs.
            "--run", metavar="RUN", help="take the encoder of this finished run, with its size and crop"
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            metavar=NUMBER, callback=within(8, 2048), help="pixels of each side (default: the encoder's own)"
        ),
    ] = None,
    crop: Annotated[
        str | None,
        one_of(CROPS, "the whole image, squashed (default), or its middle"),
    ] = None,
) -> None:
    """Encodes every image once, and writes features, labels and the encoder into one folder."""
    from lmd.embedding.embed import embed as encode
    from lmd.terminal import bar

    with bar("encoding") as progress:
        found = encode(data, out=out, encoder=encoder, weights=weights, partial_weights=partial_weights,
                       run=run, size=size, crop=crop, progress=progress)  # fmt: skip
    say(f"features: {out} ({numbered(len(found.values), 'image')}, {found.info.channels} channels)")
    say(f"next: lmd fit {out} --out RUN")


@app.command(
    cls=Verb,
    short_help="Fits a classifier to features; seconds",
    epilog="lmd fit FEATURES --out RUN\nlmd fit FEATURES --set tau=validation --out RUN",
)
def fit(
    features: Annotated[
        Path, typer.Argument(metavar="FEATURES", help="a features folder made by 'lmd embed'")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="the run folder to make")],
    settings: Set = None,
) -> None:
    """Fits ICC's classifier to the training images' features; the run is one like any other."""
    from lmd.embedding.fit import fit as fit_classifier

    run = fit_classifier(features, out=out, settings=settings or [])
    say(f"run: {run.path} (MODEL_CARD.md, report.html)")
    say(f"next: lmd evaluate {run.path}")
