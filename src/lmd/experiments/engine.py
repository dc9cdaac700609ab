"""Runs an experiment: trains and tests what is missing, uses what is finished again, writes the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lmd.errors import SettingsError, suggest
from lmd.experiments import state
from lmd.experiments.caveats import caveats
from lmd.experiments.collect import collect
from lmd.experiments.forecast import forecast
from lmd.experiments.request import Job, Request, check
from lmd.experiments.reuse import ImageFiles, check_begun, is_tested
from lmd.experiments.runs import Run, all_runs, start_of
from lmd.experiments.side_by_side import side_by_side
from lmd.experiments.work import Say, Work, one_after_another, train_and_test, wanted_runs
from lmd.jobs import check_jobs
from lmd.reporting.experiment import write_experiment
from lmd.settings import Tree
from lmd.text import numbered
from lmd.training.progress import SilentWatcher, Watcher
from lmd.training.start import check_fresh


@dataclass(frozen=True)
class Outcome:
    """What a reproduction left: its table, and the runs that failed with the reason of each."""

    table: Path
    content: Tree
    failures: dict[str, str] = field(default_factory=dict[str, str])
    late: tuple[str, ...] = ()
    """the runs that the deadline did not allow to end: the next call goes on with them"""


def reproduce(request: Request, say: Say = lambda line: None, watcher: Watcher | None = None) -> Outcome:
    """Trains and tests what is missing, then writes table.md, table.csv, table.json and the figures.

    A training that diverges is reported in the table; the others go on.

    Raises:
        SettingsError, DataError, CheckpointError: one line on what is wrong, before anything is trained.
    """
    job, runs = _checked(request)
    wanted = wanted_runs(job, runs, ImageFiles())
    check_jobs(request.jobs, max(len(wanted), 1), "runs")
    _check_encoders(wanted, runs)
    state.claim(job)
    for line in caveats(job):
        say(f"caveat: {line}")
    work = Work(runs, wanted, say)
    work.look(ImageFiles())
    if request.beside:
        side_by_side(work, request, watcher or SilentWatcher())
    else:
        one_after_another(work, watcher or SilentWatcher())
    content = collect(job, runs, work.failures)
    table = write_experiment(request.out, content)
    return Outcome(table, content, work.failures, tuple(work.late))


def reproduce_one(request: Request, name: str, watcher: Watcher) -> None:
    """Trains and tests one run: what a child of `reproduce --jobs` does.

    Raises:
        SettingsError, DataError, CheckpointError: one line on what is wrong, or that there is no such run.
    """
    runs = _runs_of(request)
    run = next((run for run in runs if run.name == name), None)
    if run is None:
        raise SettingsError(
            f"--only: {request.name} has no run '{name}'{suggest(name, [r.name for r in runs])}"
        )
    check_begun([run])
    train_and_test(run, runs, name, watcher)


# Of the last request: a process of `--jobs` is asked for many runs of one table.
_known: list[tuple[Request, list[Run]]] = []


def _runs_of(request: Request) -> list[Run]:
    """The runs of a request, made once for all that are asked for one after another."""
    if not (_known and _known[0][0] == request):
        job = check(request)
        state.check(job)
        _known[:] = [(request, all_runs(job))]
    return _known[0][1]


def plan(request: Request, watcher: Watcher | None = None) -> list[str]:
    """Returns a line for each run that `reproduce` would look at, and what all that are left will take."""
    job, runs = _checked(request)
    images = ImageFiles()
    wanted = wanted_runs(job, runs, images)
    check_jobs(request.jobs, max(len(wanted), 1), "runs")
    lines = [f"{run.name}: {_standing(run, wanted, images)}" for run in wanted]
    missing = sum(not is_tested(run, images) for run in wanted)
    return [
        *(f"caveat: {line}" for line in caveats(job)),
        *lines,
        f"{numbered(len(wanted), 'run')}, {missing} of them to do",
        "",
        *forecast(job, wanted, runs, watcher or SilentWatcher()),
    ]


def _checked(request: Request) -> tuple[Job, list[Run]]:
    """The job and its runs, after all that can be wrong with them has been looked at."""
    job = check(request)
    state.check(job)
    runs = all_runs(job)
    check_begun(runs)
    return job, runs


def _standing(run: Run, runs: list[Run], images: ImageFiles) -> str:
    if is_tested(run, images):
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


def _check_encoders(wanted: Sequence[Run], runs: Sequence[Run]) -> None:
    """Checks, before anything is written, each encoder that a run is to begin with."""
    fresh = [run for run in wanted if not run.begun and start_of(run, runs) is None]
    names = ("encoder", "size", "pretrained", "weights", "partial_weights")
    different = {tuple(getattr(run.settings, name) for name in names): run.settings for run in fresh}
    for settings in different.values():
        check_fresh(settings)
