"""Runs an experiment: trains and tests what is missing, uses what is finished again, writes the files."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lmd.errors import SettingsError
from lmd.evaluation.judge import evaluate_run
from lmd.evaluation.results import Evaluation
from lmd.experiments import state
from lmd.experiments.collect import collect
from lmd.experiments.request import Job, Request, check
from lmd.experiments.runs import Run, all_runs, check_begun, start_of
from lmd.reporting.experiment import write_experiment
from lmd.settings import Tree
from lmd.training.progress import SilentWatcher, Watcher
from lmd.training.start import check_fresh, train

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a reproduction left: its table, and the runs that failed with the reason of each."""

    table: Path
    content: Tree
    failures: dict[str, str] = field(default_factory=dict[str, str])


def reproduce(request: Request, say: Say = lambda line: None, watcher: Watcher | None = None) -> Outcome:
    """Trains and tests what is missing, then writes table.md, table.csv, table.json and the figures.

    A training that diverges is reported in the table; the others go on.

    Raises:
        SettingsError, DataError, CheckpointError: one line on what is wrong, before anything is trained.
    """
    job = check(request)
    state.check(job)
    runs = all_runs(job)
    check_begun(runs)
    _check_encoders(job, runs)
    state.claim(job)
    failures = _train_all(job, runs, say, watcher or SilentWatcher())
    content = collect(job, runs, failures)
    table = write_experiment(request.out, content)
    return Outcome(table, content, failures)


def plan(request: Request) -> list[str]:
    """Returns one line for each run that `reproduce` would look at: what exists and what it would do."""
    job = check(request)
    state.check(job)
    runs = all_runs(job)
    check_begun(runs)
    wanted = _wanted(job, runs)
    lines = [f"{run.name}: {_standing(run, wanted)}" for run in wanted]
    missing = sum(not _tested(run) for run in wanted)
    return [*lines, f"{len(wanted)} runs, {missing} of them to do"]


def _standing(run: Run, runs: list[Run]) -> str:
    if _tested(run):
        return "finished"
    if run.finished:
        return "trained, to be tested"
    if run.begun:
        return "interrupted, goes on"
    earlier = runs[: runs.index(run)]
    shared = [other for other in runs if other.finished] + earlier
    same = [other for other in shared if other.stage1 is not None and other.stage1 == run.stage1]
    if run.two_stages and same:
        return f"missing; stage 1 from {same[0].name}"
    return "missing"


def _wanted(job: Job, runs: list[Run]) -> list[Run]:
    """The runs to train: those of the rows that were asked for."""
    return [run for run in runs if run.row in job.chosen]


def _check_encoders(job: Job, runs: list[Run]) -> None:
    """Checks, before anything is written, each encoder that a run is to begin with."""
    fresh = [run for run in _wanted(job, runs) if not run.begun and start_of(run, runs) is None]
    names = ("encoder", "size", "pretrained", "weights", "partial_weights")
    different = {tuple(getattr(run.settings, name) for name in names): run.settings for run in fresh}
    for settings in different.values():
        check_fresh(settings)


def _tested(run: Run) -> bool:
    return run.finished and run.folder.evaluation("test").is_file()


def _train_all(job: Job, runs: list[Run], say: Say, watcher: Watcher) -> dict[str, str]:
    failures: dict[str, str] = {}
    wanted = _wanted(job, runs)
    for number, run in enumerate(wanted, 1):
        place = f"[{number}/{len(wanted)}] {run.name}"
        if _tested(run):
            say(f"{place}: finished before")
            continue
        began = time.perf_counter()
        try:
            _train(run, runs, place, watcher)
        except SettingsError as error:
            failures[run.name] = str(error)
            say(f"{place}: failed: {error}")
            continue
        result = _test(run, place, watcher)
        score = result.metrics["bacc"].value
        say(f"{place}: balanced accuracy {score:.3f} on test, {time.perf_counter() - began:.0f} s")
    return failures


def _train(run: Run, runs: list[Run], place: str, watcher: Watcher) -> None:
    start = start_of(run, runs)
    if run.folder.path.exists() and not run.begun:
        shutil.rmtree(run.folder.path)  # Killed before it had written what it is: nothing to go on with.
    with watcher.training(place) as progress:
        train(
            run.dataset,
            run.row.method,
            run.settings,
            run.folder.path,
            start=start,
            resume=run.begun,
            progress=progress,
        )


def _test(run: Run, place: str, watcher: Watcher) -> Evaluation:
    """Tests a run, once: what it was tested with stays."""
    with watcher.steps(f"{place} test") as progress:
        return evaluate_run(run.folder, "test", run.dataset, progress)
