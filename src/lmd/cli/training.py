"""The verbs that train: demo, train."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmd.cli.app import (
    AllowCode,
    Budget,
    Data,
    Deadline,
    Executor,
    Jobs,
    PartialWeights,
    Seed,
    Set,
    Slurm,
    Weights,
    app,
    say,
)
from lmd.cli.names import LOGS, among, check_choice, jobs_of, names_in, within
from lmd.cli.verbs import Verb
from lmd.cli.words import NUMBER
from lmd.errors import SettingsError
from lmd.processes.starters import place

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
        say(line)
    say(f"report: {report}")


@app.command(
    cls=Verb,
    short_help="Trains a method on a dataset folder",
    epilog="lmd train DATA --method lmd --out RUN\nlmd train DATA --method lmd --budget short --out RUN\n"
    "lmd train DATA --resume --out RUN\nlmd train FOLDS --jobs 2 --out RUN",
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
        bool,
        typer.Option("--dry-run", help="print the plan and its time; train and write nothing"),
    ] = False,
    jobs: Jobs = "1",
    deadline: Deadline = None,
    executor: Executor = None,
    slurm: Slurm = None,
    devices: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="train on N processes of this machine together, one for each GPU (auto: all GPUs)",
        ),
    ] = None,
    nodes: Annotated[
        int,
        typer.Option(metavar=NUMBER, callback=within(1), help="machines that train together, each with N"),
    ] = 1,
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
    started, processes = place(), _processes(devices, nodes)
    from lmd.api.data import read_dataset
    from lmd.api.runs import train as run_training
    from lmd.terminal import TrainingProgress

    dataset = read_dataset(data)  # Before torch is loaded.
    if dry_run:
        return _show_plan(dataset, start, processes=processes, method=method, budget=budget, recipe=recipe,
                          settings=settings or [], seed=seed, weights=weights,
                          partial_weights=partial_weights, allow_code=allow_code)  # fmt: skip
    _check_jobs(dataset, jobs_of(jobs), deadline, executor, slurm or [])
    if started.leads:
        _check_out(out, resume)
    if started.world < processes:
        return _launch(dataset, devices or "1", nodes)
    with TrainingProgress() if started.leads else nullcontext() as progress:
        run = run_training(
            dataset, out=out, method=method, budget=budget, recipe=recipe, settings=settings or [], seed=seed,
            weights=weights, partial_weights=partial_weights, start=start, resume=resume, jobs=jobs_of(jobs),
            deadline=deadline, executor=executor, slurm=slurm or [], log=log,
            allow_code=allow_code, progress=progress, say=say,
        )  # fmt: skip
    if started.leads:
        _say_trained(run)


def _processes(devices: str | None, nodes: int) -> int:
    """How many processes train together: those that were started, or those that are asked for.

    Raises:
        SettingsError: as many were not started as are asked for.
    """
    from lmd.launching import devices_asked

    started = place().world
    if devices is None and nodes == 1:
        return started
    asked = devices_asked(devices or "1") * nodes
    if started > 1 and asked != started:
        raise SettingsError(
            f"--devices {devices or 1} --nodes {nodes} asks for {asked} processes, {started} were started: "
            "leave both out under torchrun or srun"
        )
    return asked


def _launch(data: Dataset | Folds, devices: str, nodes: int) -> None:
    """Runs this command in several processes, and ends with their exit code."""
    from lmd.data.dataset.folds_folder import Folds
    from lmd.launching import devices_asked, launch

    if isinstance(data, Folds):
        raise SettingsError(
            f"--devices is for one data set, and {data.folder} has folds: train them side by side with --jobs"
        )
    raise typer.Exit(launch(sys.argv[1:], devices_asked(devices), nodes))


def _show_plan(dataset: Dataset | Folds, start: Path | None, **choices: Any) -> None:
    """Prints what a training would do; nothing is downloaded for it."""
    from lmd.api.runs import plan
    from lmd.models.hub import ways_out
    from lmd.training.start import check_fresh

    found = plan(dataset, taken_over=start is not None, **choices)
    settings = found.outline.settings
    here = start is not None or check_fresh(settings, download=False)
    for line in found.lines():
        say(line)
    if not here:
        say(
            f"weights: those of '{settings.encoder}' are not on this machine, and a training downloads them "
            f"first; {ways_out()}"
        )


def _check_out(out: Path, resume: bool) -> None:
    """Refuses a folder that is in use, or has nothing to go on with, before torch is loaded."""
    from lmd.folds.folder import is_folds_run
    from lmd.locks import refuse_held
    from lmd.run import RunFolder, read_identity
    from lmd.run_folder import create, is_new

    refuse_held(out)
    if not resume or is_new(out):
        create(out)
    elif not is_folds_run(out):
        read_identity(RunFolder(out))


def _check_jobs(
    data: Dataset | Folds, jobs: int | str, deadline: float | None, executor: str | None, slurm: list[str]
) -> None:
    """Refuses more processes than there is work for, before torch is loaded."""
    from lmd.data.dataset.folds_folder import Folds
    from lmd.jobs import check_deadline, check_executor, check_jobs, refuse_for_one

    if isinstance(data, Folds):
        check_jobs(jobs, len(data.names), "folds")
        check_deadline(deadline)
        check_executor(executor, slurm, jobs)
    else:
        refuse_for_one(data.folder, jobs, deadline, executor)


def _say_trained(run: RunFolder) -> None:
    """Says where a run is and what comes next."""
    from lmd.folds.folder import FoldsRun

    if isinstance(run, FoldsRun):
        first = run.path / run.names[0]
        say(f"run: {run.path} ({len(run.names)} folds, such as {first})")
    else:
        say(f"run: {run.path} (MODEL_CARD.md, report.html)")
    say(f"next: lmd evaluate {run.path}")
