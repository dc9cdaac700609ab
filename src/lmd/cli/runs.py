"""The verbs about runs: demo, train, evaluate, predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmd.cli.app import Budget, Data, PartialWeights, Run, Seed, Set, Weights, app
from lmd.errors import DataError


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="where the runs and the report go")] = Path("lmd-demo"),
    seed: Seed = None,
) -> None:
    """Trains CE, CE + logit adjustment and LMD on drawn phantoms and compares them; minutes, no download."""
    from lmd.demonstration import run_demo
    from lmd.terminal import Watching

    report, lines = run_demo(out, 42 if seed is None else seed, Watching())
    for line in lines:
        typer.echo(line)
    typer.echo(f"report: {report}")


@app.command()
def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="the run folder to make")],
    method: Annotated[str | None, typer.Option(help="one of 'lmd methods', or a path to a .py file")] = None,
    recipe: Annotated[Path | None, typer.Option(help="a YAML file of settings")] = None,
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
) -> None:
    """Trains a method on a dataset folder; shows each loss term and the time left."""
    from lmd.api import train as run_training
    from lmd.terminal import TrainingProgress

    with TrainingProgress() as progress:
        run = run_training(
            data, out=out, method=method, budget=budget, recipe=recipe, settings=settings or [], seed=seed,
            weights=weights, partial_weights=partial_weights, start=start, resume=resume, progress=progress,
        )  # fmt: skip
    typer.echo(f"run: {run.path} (MODEL_CARD.md, report.html)")


@app.command()
def evaluate(
    run: Run,
    split: Annotated[str, typer.Option(help="train, val or test")] = "test",
    data: Annotated[Path | None, typer.Option(help="another dataset folder than the run's own")] = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="measure images that the run was trained on, too")
    ] = False,
) -> None:
    """Predicts a split, measures with intervals, writes evaluation-<split>.json and report.html."""
    from lmd.api import evaluate as run_evaluation
    from lmd.reporting.comparison import comparison_lines
    from lmd.terminal import bar

    with bar(f"predicting {split}") as progress:
        result = run_evaluation(run, split, data=data, allow_overlap=allow_overlap, progress=progress)
    for line in comparison_lines({run.name: result}):
        typer.echo(line)
    typer.echo(f"report: {run / 'report.html'}")


@app.command()
def predict(
    run: Run,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="image files or folders of them")],
    out: Annotated[Path | None, typer.Option(help="a CSV file; without it the answers are printed")] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="leave out images that cannot be read")
    ] = False,
    frame: Annotated[int | None, typer.Option(help="which frame of files that hold several, from 1")] = None,
) -> None:
    """Predicts image files: the class and a probability for each class."""
    from lmd.api import load
    from lmd.evaluation.predict import image_files, predict_files, write_predictions
    from lmd.terminal import bar

    if out is not None and out.exists():
        raise DataError(f"output file {out} exists already")
    files = image_files(images)
    with bar("predicting") as progress:
        answers, skipped = predict_files(load(run), files, skip_bad, frame, progress)
    for reason in skipped.values():
        typer.echo(f"skipped: {reason}", err=True)
    answers = answers.drop(columns=["label", "group"])
    if out is None:
        typer.echo(answers.to_csv(index=False, float_format="%.4f"), nl=False)
        return
    write_predictions(out, answers)
    typer.echo(f"{len(answers)} predictions: {out}")
