"""The verbs about runs: demo, train, evaluate, predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmd.cli.app import Budget, Data, PartialWeights, Run, Seed, Set, Weights, app
from lmd.cli.names import LOGS, SPLITS, among, check_choice, names_in, within
from lmd.cli.verbs import Verb
from lmd.cli.words import NUMBER
from lmd.errors import DataError


@app.command(cls=Verb, short_help="Trains three methods on drawn images and compares them; minutes")
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="where the runs and the report go")] = Path(
        "lmd-demo"
    ),
    seed: Seed = None,
) -> None:
    """Trains CE, CE + logit adjustment and LMD on drawn phantoms and compares them; minutes, no download."""
    from lmd.demonstration import run_demo
    from lmd.terminal import Watching

    report, lines = run_demo(out, 42 if seed is None else seed, Watching())
    for line in lines:
        typer.echo(line)
    typer.echo(f"report: {report}")


@app.command(
    cls=Verb,
    short_help="Trains a method on a dataset folder",
    epilog="lmd train DATA --method lmd --budget short --out RUN\nlmd train DATA --resume --out RUN",
)
def train(
    data: Data,
    out: Annotated[Path, typer.Option(metavar="DIR", help="the run folder to make")],
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"one of {', '.join(names_in('methods'))}; or the path of a .py file (default: lmd)",
        ),
    ] = None,
    recipe: Annotated[Path | None, typer.Option(metavar="FILE", help="a YAML file of settings")] = None,
    settings: Set = None,
    budget: Budget = "paper",
    weights: Weights = None,
    partial_weights: PartialWeights = False,
    seed: Seed = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="take over the first stage of this finished run"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with an interrupted run")] = False,
    log: Annotated[
        str | None,
        typer.Option(
            metavar=LOGS, callback=among(LOGS), help="write the numbers of each epoch for this program, too"
        ),
    ] = None,
) -> None:
    """Trains a method on a dataset folder; shows each loss term and the time left."""
    check_choice(method, recipe, settings or [])
    from lmd.api import read_dataset
    from lmd.api import train as run_training
    from lmd.terminal import TrainingProgress

    dataset = read_dataset(data)  # Before torch is loaded.
    _check_out(out, resume)
    with TrainingProgress() as progress:
        run = run_training(
            dataset, out=out, method=method, budget=budget, recipe=recipe, settings=settings or [], seed=seed,
            weights=weights, partial_weights=partial_weights, start=start, resume=resume, log=log,
            progress=progress,
        )  # fmt: skip
    typer.echo(f"run: {run.path} (MODEL_CARD.md, report.html)")


@app.command(
    cls=Verb,
    short_help="Measures a run on a split, with intervals",
    epilog="lmd evaluate RUN --split test",
)
def evaluate(
    run: Run,
    split: Annotated[
        str, typer.Option(metavar=SPLITS, callback=among(SPLITS), help="the images to predict")
    ] = "test",
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="another dataset folder than the run's own")
    ] = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="measure images that the run was trained on, too")
    ] = False,
) -> None:
    """Predicts a split, measures with intervals, writes evaluation-<split>.json and report.html."""
    from lmd.api import evaluate as run_evaluation
    from lmd.api import read_dataset
    from lmd.terminal import bar

    _check_run(run)
    dataset = None if data is None else read_dataset(data)
    with bar(f"predicting {split}") as progress:
        result = run_evaluation(run, split, data=dataset, allow_overlap=allow_overlap, progress=progress)
    from lmd.reporting.comparison import comparison_lines

    for line in comparison_lines({run.name: result}):
        typer.echo(line)
    typer.echo(f"report: {run / 'report.html'}")


def _check_out(out: Path, resume: bool) -> None:
    """Refuses a folder that is in use, or has nothing to go on with, before torch is loaded."""
    from lmd.run import RunFolder, create, read_identity

    if resume:
        read_identity(RunFolder(out))
    else:
        create(out)


def _check_run(run: Path) -> None:
    """Refuses a run without a trained model before torch is loaded."""
    from lmd.run import RunFolder, read_model_card

    read_model_card(RunFolder(run))


@app.command(
    cls=Verb,
    short_help="Predicts image files: a class and its probabilities",
    epilog="lmd predict RUN new1.jpg new2.jpg --out answers.csv",
)
def predict(
    run: Run,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="image files, or folders of such")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="a CSV file to make (default: print the answers)"),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="leave out images that cannot be read")
    ] = False,
    frame: Annotated[
        int | None,
        typer.Option(
            metavar=NUMBER, callback=within(1), help="which frame of files that hold several, counted from 1"
        ),
    ] = None,
) -> None:
    """Predicts image files: the class and a probability for each class."""
    files = _files_to_predict(run, images, out, skip_bad)
    from lmd.api import load
    from lmd.evaluation.predict import predict_files, write_predictions
    from lmd.spreadsheet import guarded_table
    from lmd.terminal import bar

    with bar("predicting") as progress:
        answers, skipped = predict_files(load(run), files, skip_bad, frame, progress)
    for reason in skipped.values():
        typer.echo(f"skipped: {reason}", err=True)
    answers = answers.drop(columns=["label", "group"])
    if out is None:
        typer.echo(guarded_table(answers).to_csv(index=False, float_format="%.4f"), nl=False)
        return
    write_predictions(out, answers)
    typer.echo(f"{len(answers)} predictions: {out}")


def _files_to_predict(run: Path, images: list[Path], out: Path | None, skip_bad: bool) -> list[Path]:
    """The image files, after all that can be wrong has been looked at without torch."""
    from lmd.data.asked import image_files, once_each, refuse_missing

    _check_run(run)
    if out is not None and out.exists():
        raise DataError(f"output file {out} exists already")
    files, again = once_each(image_files(images))
    if not skip_bad:
        refuse_missing(files)
    if again:
        typer.echo(f"note: {len(again)} named again, answered once: {again[0]}", err=True)
    return files
