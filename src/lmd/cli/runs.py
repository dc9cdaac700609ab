"""The verbs about finished runs: evaluate, predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmd.cli.app import Run, app, one_of, say
from lmd.cli.dicom import Codes, DicomSr, HeatMap, Reports
from lmd.cli.names import SPLITS, within
from lmd.cli.verbs import Verb
from lmd.cli.words import NUMBER, SHARE
from lmd.errors import DataError
from lmd.text import numbered

if TYPE_CHECKING:
    from lmd.model_card import ModelCard

Prior = Annotated[
    str | None,
    typer.Option(
        metavar="train|uniform|estimate|FILE",
        help="how frequent the classes are where the model is used: as in training, all alike, estimated "
        "from the images, or as a file states (docs/probabilities.md)",
    ),
]


@app.command(
    cls=Verb,
    short_help="Measures a run on a split, with intervals",
    epilog="lmd evaluate RUN --split test",
)
def evaluate(
    run: Run,
    split: Annotated[str, one_of(SPLITS, "the images to predict")] = "test",
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="another dataset folder than the run's own")
    ] = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="measure images that the run was trained on, too")
    ] = False,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="measure each value of a column by itself: sex, or age:10 for bins of 10",
        ),
    ] = None,
    coverage: Annotated[
        float, typer.Option(metavar=SHARE, help="share of images whose prediction sets hold the true class")
    ] = 0.9,
    prior: Prior = None,
    sensitivity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS=SHARE",
            help="a threshold for a class, chosen on validation for this sensitivity; may be given again",
        ),
    ] = None,
    cost: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="a CSV file of what each mistake costs: decide by the least cost"),
    ] = None,
) -> None:
    """Predicts a split, measures with intervals, writes evaluation-<split>.json and report.html."""
    from lmd.api.data import read_dataset
    from lmd.api.runs import evaluate as run_evaluation
    from lmd.terminal import bar

    card = check_run(run)
    dataset = None if data is None else read_dataset(data)
    with bar(f"predicting {split}") as progress:
        result = run_evaluation(
            run,
            split,
            data=dataset,
            allow_overlap=allow_overlap,
            by=by or (),
            coverage=coverage,
            prior=prior,
            sensitivity=sensitivity or (),
            cost=cost,
            progress=progress,
        )
    from lmd.folds.folder import FoldsRun, opened
    from lmd.folds.report import fold_lines
    from lmd.reporting.beyond import beyond_lines
    from lmd.reporting.comparison import comparison_lines
    from lmd.reporting.probability_lines import probability_lines
    from lmd.text import few_note

    folder = opened(run)
    compared = comparison_lines({run.name: result})
    further = [*beyond_lines(result), *probability_lines(result)]
    for line in [
        *(fold_lines(folder) if isinstance(folder, FoldsRun) else []),
        *compared,
        *further,
        *(note for note in few_note(further) if note not in compared),
    ]:
        say(line)
    _tell_outputs(card, "AUC ranks by p; all else counts decisions")
    say(f"report: {run / 'report.html'}")


def _tell_outputs(card: ModelCard, more: str = "", err: bool = False) -> None:
    """Says which probabilities are for ranking and which for decisions, where they are not the same."""
    from lmd.evaluation.answers import told

    line = told(card)
    if line is not None:
        say(f"note: {line}{'; ' if more else ''}{more}", err=err)


def check_run(run: Path, average: bool | None = None) -> ModelCard:
    """Returns the card of a run or of all its folds, before torch is loaded; a run without one is refused."""
    from lmd.folds.folder import FoldsRun, cards, check_average, opened
    from lmd.folds.pooled_card import pooled_card
    from lmd.run import read_model_card
    from lmd.runtime import refuse_several_processes

    refuse_several_processes()
    folder = opened(run)
    if average is not None:
        check_average(folder, average)
    if isinstance(folder, FoldsRun):
        return pooled_card(cards(folder))
    return read_model_card(folder)


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
    prior: Prior = None,
    sets: Annotated[
        float | None,
        typer.Option(
            metavar=SHARE, help="also a set of classes for each image, which holds the true one so often"
        ),
    ] = None,
    dicom_sr: DicomSr = None,
    dicom_heatmap: HeatMap = False,
    dicom_codes: Codes = None,
) -> None:
    """Predicts image files: the class, a probability for each class, and how unlike the training images."""
    card = check_run(run, average)
    files = _files_to_predict(images, out, skip_bad)
    reports = Reports(dicom_sr, dicom_heatmap, dicom_codes)
    reports.check(files, card.classes)
    from lmd.evaluation.set_answers import refuse_both

    refuse_both(prior, sets)
    from lmd.api.runs import load
    from lmd.evaluation.answers import write_predictions
    from lmd.evaluation.predict import predict_files
    from lmd.evaluation.prior_answers import answers_at_prior, prior_lines
    from lmd.evaluation.wanted import checked_prior
    from lmd.reporting.beyond import unlike_lines
    from lmd.spreadsheet import guarded_table
    from lmd.terminal import bar

    model = load(run, average=average)
    stated = None if prior is None else checked_prior(prior, model.source)
    promise = None if sets is None else model.promise(sets)
    with bar("predicting") as progress:
        answers, skipped = predict_files(model, files, skip_bad, frame, progress)
    for reason in skipped.values():
        say(f"skipped: {reason}", err=True)
    answers = answers.drop(columns=["label", "group"])
    if stated is None:
        _tell_outputs(card, err=True)
    else:
        answers, found = answers_at_prior(answers, model.source, stated)
        say("\n".join(prior_lines(model.classes, found)), err=True)
    if promise is not None:
        answers = promise.added_to(answers)
    for line in [*(promise.lines() if promise is not None else []), *unlike_lines(answers)]:
        say(line, err=True)
    reports.write(model, answers, frame, prior)
    if out is None:
        typer.echo(guarded_table(answers).to_csv(index=False, float_format="%.4f"), nl=False)
        return
    write_predictions(out, answers)
    say(f"{numbered(len(answers), 'prediction')}: {out}")


def _files_to_predict(images: list[Path], out: Path | None, skip_bad: bool) -> list[Path]:
    """The image files, after all that can be wrong has been looked at without torch."""
    from lmd.data.asked import image_files, once_each, refuse_missing

    if out is not None and out.exists():
        raise DataError(f"output file {out} exists already")
    files, again = once_each(image_files(images))
    if not skip_bad:
        refuse_missing(files)
    if again:
        say(f"note: {len(again)} named again, answered once: {again[0]}", err=True)
    return files
