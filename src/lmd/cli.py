"""The command `lmd`: parse, call, print. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmd import __version__
from lmd.errors import DataError, LmdError, SettingsError

if TYPE_CHECKING:
    from lmd.settings import CommonSettings

app = typer.Typer(
    name="lmd",
    help="Long-tailed medical diagnosis: classifiers that recognise rare classes. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Data = Annotated[Path, typer.Argument(metavar="DATA", help="a dataset folder made by 'lmd prepare'")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="a run folder made by 'lmd train'")]
Seed = Annotated[
    int | None, typer.Option(help="the seed of every random draw (default: the recipe's, or 42)")
]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="a setting; repeatable")]


def main() -> None:
    """Runs the command; a user's mistake is one line on stderr and exit code 2."""
    # Threads that wait must sleep: spinning ones slow two trainings on one machine twenty-fold (docs/log.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = app(standalone_mode=False)
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        print(f"lmd: {' '.join(message.split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("lmd: interrupted; a training goes on with --resume", file=sys.stderr)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _message(error: Exception) -> str | None:
    """The line to show for an error that a user can cause; None for a fault of our own."""
    if isinstance(error, LmdError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'file system'}: {error.strerror or error}"
    if hasattr(error, "format_message"):  # typer's usage errors, whose base class is private to it.
        return f"{error.format_message()} (see 'lmd --help')"  # type: ignore[attr-defined]
    return None


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lmd {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="show the version")
    ] = False,
) -> None:
    """Long-tailed medical diagnosis: classifiers that recognise rare classes. Research use only."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="where the two runs and the report go")] = Path("lmd-demo"),
    seed: Seed = None,
) -> None:
    """Trains CE and LMD on drawn phantom images and compares them; minutes, no download."""
    from lmd.demonstration import run_demo
    from lmd.terminal import TrainingProgress

    with TrainingProgress() as progress:
        report, rows = run_demo(out, 42 if seed is None else seed, progress)
    for row in rows:
        typer.echo(row)
    typer.echo(f"report: {report}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def prepare(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="one of 'lmd sources'")],
    out: Annotated[Path, typer.Option(help="the dataset folder to make")],
) -> None:
    """Makes a dataset folder. The source's own options (see 'lmd sources') follow as --name value."""
    from lmd.data.audit.text import summary_lines
    from lmd.data.dataset import sources
    from lmd.settings import resolve
    from lmd.terminal import bar

    module = sources.load(source)
    options = resolve(module.Options, _extra_options(context.args))
    with bar("reading images") as progress:
        dataset = module.prepare(options, out, progress)
    for line in summary_lines(dataset):
        typer.echo(line)


def _extra_options(arguments: list[str]) -> dict[str, Any]:
    """Reads `--name value`, `--name=value` and lone `--flag` into a dict of texts and True.

    >>> _extra_options(["--root", "images", "--allow-missing", "--seed=3"])
    {'root': 'images', 'allow_missing': True, 'seed': '3'}
    """
    options: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise SettingsError(f"unexpected argument '{word}'")
        name, equals, value = word[2:].partition("=")
        if equals:
            options[name.replace("-", "_")] = value
        elif rest and not rest[0].startswith("--"):
            options[name.replace("-", "_")] = rest.pop(0)
        else:
            options[name.replace("-", "_")] = True
    return options


@app.command()
def inspect(
    data: Data,
    out: Annotated[Path | None, typer.Option(help="the picture page (default: DATA/inspect.html)")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="a JSON file for the fingerprint")] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="write the picture page")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="open no image: counts, groups and splits")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="exit with 1 when anything is wrong")] = False,
    near: Annotated[
        int, typer.Option(min=0, max=64, help="bits of 256 in which near duplicates may differ")
    ] = 36,
    seed: Seed = None,
) -> None:
    """Shows what to know before training: counts, leaks, copies, damaged files, test resolution."""
    from lmd.data.audit.fingerprint import fingerprint
    from lmd.data.audit.results import write_fingerprint
    from lmd.data.audit.text import format_fingerprint
    from lmd.data.dataset.manifest import read_dataset
    from lmd.reporting.inspect_page import write_inspection
    from lmd.terminal import bar

    if quick and out is not None:
        raise SettingsError("--quick opens no image: it cannot write the page --out; leave one of the two")
    for file in (out, json_file):
        if file is not None and file.exists():
            raise DataError(f"output file {file} exists already")
    dataset = read_dataset(data, check_files=False)
    with bar("looking at images") as progress:
        found = fingerprint(dataset, progress, near, look=not quick)
    for line in format_fingerprint(found):
        typer.echo(line)
    if json_file is not None:
        typer.echo(f"fingerprint: {write_fingerprint(json_file, found)}")
    if page and not quick:
        target = data / "inspect.html" if out is None else out
        typer.echo(f"page: {write_inspection(target, dataset, found, 42 if seed is None else seed)}")
    if strict and found.wrong:
        raise typer.Exit(1)


@app.command()
def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="the run folder to make")],
    method: Annotated[str | None, typer.Option(help="one of 'lmd methods', or a path to a .py file")] = None,
    recipe: Annotated[Path | None, typer.Option(help="a YAML file of settings")] = None,
    settings: Set = None,
    budget: Annotated[str, typer.Option(help="smoke (seconds), short (hours on 2 cores) or paper")] = "paper",
    weights: Annotated[str | None, typer.Option(help="a safetensors file for the encoder")] = None,
    partial_weights: Annotated[
        bool, typer.Option("--partial-weights", help="accept weights that lack some tensors")
    ] = False,
    seed: Seed = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="take over the first stage of this finished run"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with an interrupted run")] = False,
) -> None:
    """Trains a method on a dataset folder; shows each loss term and the time left."""
    from lmd.data.dataset.manifest import read_dataset
    from lmd.reporting.card import write_card
    from lmd.reporting.page import write_report
    from lmd.run import RunFolder
    from lmd.terminal import TrainingProgress
    from lmd.training.start import train as start_training

    flags: dict[str, Any] = {"weights": weights, "partial_weights": partial_weights or None, "seed": seed}
    flags = {name: value for name, value in flags.items() if value is not None}
    untouched = recipe is None and method is None and not settings and not flags and budget == "paper"
    if resume and untouched:
        name, resolved = _saved_choice(out)
    else:
        name, resolved = _chosen(method, budget, recipe, flags, settings or [])
    dataset = read_dataset(data)
    first = None if start is None else RunFolder(start)
    with TrainingProgress() as progress:
        folder = start_training(dataset, name, resolved, out, start=first, resume=resume, progress=progress)
    write_report(folder.path)
    typer.echo(f"run: {folder.path} ({write_card(folder.path).name}, report.html)")


def _saved_choice(out: Path) -> tuple[str, CommonSettings]:
    """The method and the settings of the run that is to go on."""
    from lmd import methods
    from lmd.run import RunFolder, read_identity
    from lmd.settings import resolve

    saved = read_identity(RunFolder(out))
    return saved["method"], resolve(methods.load(saved["method"]).Settings, saved["settings"])


def _chosen(
    method: str | None, budget: str, recipe: Path | None, flags: dict[str, Any], overrides: list[str]
) -> tuple[str, CommonSettings]:
    """The method and the settings that the command line names: preset < budget < recipe < flags < --set."""
    from lmd import methods
    from lmd.settings import read_recipe, resolve

    tree = read_recipe(recipe) if recipe else {}
    written = tree.pop("method", None)
    if written is not None and not isinstance(written, str):
        raise SettingsError(f"recipe {recipe}: method = {written!r} must be the name of a method")
    if None not in (method, written) and method != written:
        raise SettingsError(f"recipe {recipe} is for method '{written}', not for '{method}'")
    name = next((name for name in (method, written) if name is not None), "lmd")
    module = methods.load(name)
    layers = (methods.preset(module), methods.budget(module, budget), tree, flags)
    return name, resolve(module.Settings, *layers, overrides=overrides)


@app.command()
def evaluate(
    run: Run,
    split: Annotated[str, typer.Option(help="train, val or test")] = "test",
    data: Annotated[Path | None, typer.Option(help="another dataset folder than the run's own")] = None,
) -> None:
    """Predicts a split, measures with intervals, writes evaluation-<split>.json and report.html."""
    from lmd.evaluation.judge import evaluate_run
    from lmd.reporting.card import write_card
    from lmd.reporting.page import comparison_lines, write_report
    from lmd.run import RunFolder
    from lmd.terminal import bar

    folder = RunFolder(run)
    with bar(f"predicting {split}") as progress:
        result = evaluate_run(folder, split, data, progress)
    for line in comparison_lines({run.name: result}):
        typer.echo(line)
    write_card(run)
    typer.echo(f"report: {write_report(run)}")


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
    from lmd.data.decode.files import list_images
    from lmd.evaluation.predict import load_model, predict_files, write_predictions
    from lmd.run import RunFolder
    from lmd.terminal import bar

    if out is not None and out.exists():
        raise DataError(f"output file {out} exists already")
    files = [file for path in images for file in (list_images(path) if path.is_dir() else [path])]
    model = load_model(RunFolder(run))
    with bar("predicting") as progress:
        answers, skipped = predict_files(model, files, skip_bad, frame, progress)
    for reason in skipped.values():
        typer.echo(f"skipped: {reason}", err=True)
    answers = answers.drop(columns=["label", "group"])
    if out is None:
        typer.echo(answers.to_csv(index=False, float_format="%.4f"), nl=False)
        return
    write_predictions(out, answers)
    typer.echo(f"{len(answers)} predictions: {out}")


@app.command()
def reproduce(
    name: Annotated[str, typer.Argument(metavar="NAME", help="table1 to table5, or fig3 to fig7")],
    data: Annotated[
        list[str], typer.Option(help="a dataset folder; for table3 once for each r, as --data 100=DIR")
    ],
    out: Annotated[Path, typer.Option(help="the folder for runs, tables and figures; a second call goes on")],
    seeds: Annotated[int, typer.Option(help="how many seeds, from 42")] = 3,
    methods: Annotated[
        str | None, typer.Option(help="train these rows alone: names with commas between them")
    ] = None,
    budget: Annotated[str, typer.Option(help="smoke, short (hours on 2 cores) or paper")] = "paper",
    weights: Annotated[str | None, typer.Option(help="a safetensors file for the encoder")] = None,
    partial_weights: Annotated[
        bool, typer.Option("--partial-weights", help="accept weights that lack some tensors")
    ] = False,
    settings: Set = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="list the runs and what exists of them; train nothing")
    ] = False,
) -> None:
    """Runs a table or figure of the paper and sets its numbers beside ours, with intervals."""
    from lmd.experiments.engine import plan, reproduce
    from lmd.experiments.request import Request

    request = Request(name, data, out, seeds, methods, budget, weights, partial_weights, settings or [])
    if dry_run:
        typer.echo("\n".join(plan(request)))
        return
    outcome = reproduce(request, typer.echo)
    typer.echo(f"table: {outcome.table}")
    if outcome.failures:
        raise typer.Exit(1)


@app.command()
def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="show all about one method, or a path to a .py file")
    ] = None,
) -> None:
    """Lists the methods with their status and paper; shows all about one that is named."""
    from lmd import methods as registry

    lines = registry.overview() if name is None else registry.describe(name)
    for line in lines:
        typer.echo(line)


@app.command()
def sources() -> None:
    """Lists the data sources and their options."""
    from lmd.data.dataset import sources as registry

    for name in registry.names():
        module = registry.load(name)
        options = " ".join(f"--{option.replace('_', '-')}" for option in module.Options.model_fields)
        typer.echo(f"{name:10s} {module.TITLE}\n{'':10s} {options}")
