"""Runs of an experiment side by side: each trained and tested by a child process of its own.

A child is the command `lmd reproduce` with the words of the parent's call and `--only RUN`. A run that takes
its first stage over waits until the run that trains it has ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmd.data.decode.cache import open_cache
from lmd.evaluation.results import read_evaluation
from lmd.experiments.request import Request
from lmd.experiments.reuse import ImageFiles
from lmd.experiments.runs import Run, start_of
from lmd.experiments.work import Work
from lmd.jobs import Done, Task, run_tasks
from lmd.training.progress import Watcher

LOGS = "logs"


def side_by_side(work: Work, request: Request, watcher: Watcher) -> None:
    """Trains and tests what is left in child processes; a run that fails is told, and the others go on."""
    left = work.skip_finished(ImageFiles())
    by_name = {run.name: run for run in left}
    _decode(left, watcher)

    def told(done: Done) -> None:
        run = by_name[done.task.name]
        if done.error is not None:
            work.failed(run, done.error)
        else:
            work.done(run, read_evaluation(run.folder.evaluation("test")), done.seconds)

    run_tasks([_task(run, work.runs, left, request) for run in left], request.jobs, told)


def _decode(runs: Sequence[Run], watcher: Watcher) -> None:
    """Decodes the images once, before several processes need them."""
    needed = {(run.dataset.folder, run.settings.size, run.settings.crop): run.dataset for run in runs}
    for (_, size, crop), dataset in needed.items():
        with watcher.steps("decoding images") as steps:
            open_cache(dataset, size, crop, steps)


def _task(run: Run, runs: Sequence[Run], left: Sequence[Run], request: Request) -> Task:
    log = request.out / LOGS / f"{run.name.replace('/', '.')}.log"
    source = source_of(run, runs, left)
    after = () if source is None else (source.name,)
    return Task(run.name, lambda: ["reproduce", *words_of(request), "--only", run.name], log, after)


def source_of(run: Run, runs: Sequence[Run], left: Sequence[Run]) -> Run | None:
    """Returns the run that has to end before this one may begin: it trains the first stage of both."""
    if run.begun or run.stage1 is None or not run.two_stages or start_of(run, runs) is not None:
        return None
    earlier = left[: left.index(run)]
    return next((other for other in earlier if other.stage1 == run.stage1), None)


def words_of(request: Request) -> list[str]:
    """Returns the words of the command that makes a request again."""
    words = [
        request.name,
        "--out",
        str(request.out),
        "--seeds",
        str(request.seeds),
        "--budget",
        request.budget,
        "--tau",
        request.tau,
    ]
    words += [word for folder in request.data for word in ("--data", folder)]
    words += [word for text in request.overrides for word in ("--set", text)]
    words += ["--methods", request.methods] if request.methods is not None else []
    words += ["--weights", request.weights] if request.weights is not None else []
    words += ["--partial-weights"] if request.partial_weights else []
    return [*words, *(["--allow-code"] if request.allow_code else [])]
