"""The verbs about runs: demo, train, evaluate, predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmd.cli.app import AllowCode, Budget, Data, Jobs, PartialWeights, Run, Seed, Set, Weights, app
from lmd.cli.names import LOGS, SPLITS, among, check_choice, names_in, within
from lmd.cli.verbs import Verb
from lmd.cli.words import NUMBER
from lmd.errors import DataError, SettingsError

if TYPE_CHECKING:
    from lmd.data.dataset.folds_folder import Folds
    from lmd.data.dataset.manifest import Dataset
    from lmd.run import RunFolder


@app.command(cls=Verb, short_help="Trains three methods on drawn images and compares them; minutes")
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="where the runs and the report go")] = Path(
        "lmd-demo"
    ),
    seed: Seed = None,
) -> None:
    """Trains CE, CE + logit adjustment and LMD on drawn phantoms and compares them; minutes, no download."""
    from lmd.runtime import refuse_several_processes

    refuse_several_processes()
    from lmd.demonstration import run_demo
    from lmd.terminal import Watching

    report, lines = run_demo(out, 42 if seed is None else seed, Watching())
    for line in lines:
        typer.echo(line)
    typer.echo(f"report: {report}")


@app.command(
    cls=Verb,
    short_help="Trains a method on a dataset folder",
    epilog="lmd train DATA --method lmd --budget short --out RUN\nlmd train DATA --resume --out RUN\n"
    "lmd train FOLDS --jobs 2 --out RUN",
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
    budget: Budget = None,
    weights: Weights = None,
    partial_weights: PartialWeights = False,
    seed: Seed = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="take over the first stage of this finished run"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with an interrupted run, or start one")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="print the plan and its time; train and write nothing")
    ] = False,
    jobs: Jobs = 1,
    allow_code: AllowCode = False,
    log: Annotated[
        str | None,
        typer.Option(
            metavar=LOGS, callback=among(LOGS), help="write the numbers of each epoch for this program, too"
        ),
    ] = None,
) -> None:
    """Trains a method on a dataset folder; shows the plan, each loss term and the time left."""
    check_choice(method, recipe, settings or [], allow_code)
    from lmd.api import read_dataset
    from lmd.api import train as run_training
    from lmd.terminal import TrainingProgress

    dataset = read_dataset(data)  # Before torch is loaded.
    if dry_run:
        return _show_plan(dataset, start, method=method, budget=budget, recipe=recipe,
                          settings=settings or [], seed=seed, weights=weights,
                          partial_weights=partial_weights, allow_code=allow_code)  # fmt: skip
    _check_jobs(dataset, jobs)
    _check_out(out, resume)
    with TrainingProgress() as progress:
        run = run_training(
            dataset, out=out, method=method, budget=budget, recipe=recipe, settings=settings or [], seed=seed,
            weights=weights, partial_weights=partial_weights, start=start, resume=resume, jobs=jobs, log=log,
            allow_code=allow_code, progress=progress, say=typer.echo,
        )  # fmt: skip
    _say_trained(run)


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
    from lmd.folds.folder import FoldsRun, opened
    from lmd.folds.report import fold_lines
    from lmd.reporting.comparison import comparison_lines

    folder = opened(run)
    for line in [
        *(fold_lines(folder) if isinstance(folder, FoldsRun) else []),
        *comparison_lines({run.name: result}),
    ]:
        typer.echo(line)
    typer.echo(f"report: {run / 'report.html'}")


def _show_plan(dataset: Dataset | Folds, start: Path | None, **choices: Any) -> None:
    """Prints what a training would do."""
    from lmd.api import plan

    for line in plan(dataset, taken_over=start is not None, **choices).lines():
        typer.echo(line)


def _check_out(out: Path, resume: bool) -> None:
    """Refuses a folder that is in use, or has nothing to go on with, before torch is loaded."""
    from lmd.folds.folder import is_folds_run
    from lmd.locks import refuse_held
    from lmd.run import RunFolder, read_identity
    from lmd.run_folder import create, is_new
    from lmd.runtime import refuse_several_processes

    refuse_several_processes()
    refuse_held(out)
    if not resume or is_new(out):
        create(out)
    elif not is_folds_run(out):
        read_identity(RunFolder(out))


def _check_jobs(data: Dataset | Folds, jobs: int) -> None:
    """Refuses more processes than there is work for, before torch is loaded."""
    from lmd.data.dataset.folds_folder import Folds
    from lmd.jobs import check_jobs

    if isinstance(data, Folds):
        check_jobs(jobs, len(data.names), "folds")
    elif jobs != 1:
        raise SettingsError(f"--jobs {jobs}: {data.folder} is one data set without folds: leave --jobs out")


def _check_run(run: Path, average: bool | None = None) -> None:
    """Refuses a run without a trained model before torch is loaded."""
    from lmd.folds.folder import FoldsRun, cards, check_average, opened
    from lmd.run import read_model_card
    from lmd.runtime import refuse_several_processes

    refuse_several_processes()
    folder = opened(run)
    if average is not None:
        check_average(folder, average)
    if isinstance(folder, FoldsRun):
        cards(folder)
    else:
        read_model_card(folder)


def _say_trained(run: RunFolder) -> None:
    """Says where a run is and what comes next."""
    from lmd.folds.folder import FoldsRun

    if isinstance(run, FoldsRun):
        first = run.path / run.names[0]
        typer.echo(f"run: {run.path} ({len(run.names)} folds, such as {first})")
        typer.echo(f"next: lmd evaluate {run.path}")
    else:
        typer.echo(f"run: {run.path} (MODEL_CARD.md, report.html)")


@app.command(
    cls=Verb,
    short_help="Predicts image files: a class and its probabilities",
    epilog="lmd predict RUN new1.jpg new2.jpg --out answers.csv\nlmd predict RUN new1.jpg --average",
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
    average: Annotated[
        bool, typer.Option("--average", help="of a run on folds: the mean of its folds' probabilities")
    ] = False,
) -> None:
    """Predicts image files: the class and a probability for each class."""
    _check_run(run, average)
    files = _files_to_predict(images, out, skip_bad)
    from lmd.api import load
    from lmd.evaluation.predict import predict_files, write_predictions
    from lmd.spreadsheet import guarded_table
    from lmd.terminal import bar

    with bar("predicting") as progress:
        answers, skipped = predict_files(load(run, average=average), files, skip_bad, frame, progress)
    for reason in skipped.values():
        typer.echo(f"skipped: {reason}", err=True)
    answers = answers.drop(columns=["label", "group"])
    if out is None:
        typer.echo(guarded_table(answers).to_csv(index=False, float_format="%.4f"), nl=False)
        return
    write_predictions(out, answers)
    typer.echo(f"{len(answers)} predictions: {out}")


def _files_to_predict(images: list[Path], out: Path | None, skip_bad: bool) -> list[Path]:
    """The image files, after all that can be wrong has been looked at without torch."""
    from lmd.data.asked import image_files, once_each, refuse_missing

    if out is not None and out.exists():
        raise DataError(f"output file {out} exists already")
    files, again = once_each(image_files(images))
    if not skip_bad:
        refuse_missing(files)
    if again:
        typer.echo(f"note: {len(again)} named again, answered once: {again[0]}", err=True)
    return files
