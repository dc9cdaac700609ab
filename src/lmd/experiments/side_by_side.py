"""Runs of an experiment side by side: each trained and tested by a child process of its own.

A child is the command `lmd reproduce` with the words of the parent's call and `--only RUN`. A run that takes
its first stage over waits until the run that trains it has ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmd.data.decode.cache import open_cache
from lmd.evaluation.results import read_evaluation
from lmd.experiments.request import Request
from lmd.experiments.runs import Run
from lmd.experiments.work import Work
from lmd.jobs import AUTO, Cluster, Deadline, Done, Task, run_tasks, told_of_gpu
from lmd.planning.fitting import number_of
from lmd.planning.outline import outline
from lmd.runtime import device_kind
from lmd.training.progress import Watcher

LOGS = "logs"


def side_by_side(work: Work, request: Request, watcher: Watcher) -> None:
    """Trains and tests what is left in child processes; a run that fails is told, and the others go on."""
    left = work.left
    if not left:
        return
    _decode(left, watcher)
    by_name = {run.name: run for run in left}

    def told(done: Done) -> None:
        run = by_name[done.task.name]
        if done.error is not None:
            work.failed(run, done.error)
        else:
            work.done(run, read_evaluation(run.folder.evaluation("test")), done.seconds)

    until = None if request.deadline is None else Deadline.after(request.deadline, request.begun)
    tasks = [_task(run, work, request) for run in left]
    if request.executor is None:
        pool, jobs = None, _jobs(work, request)
    else:
        pool, jobs = Cluster(request.executor, request.slurm, request.out / LOGS), int(request.jobs)
    done = run_tasks(tasks, jobs, told, say=work.say, deadline=until, pool=pool)
    work.not_in_time(left[:0] if until is None else [by_name[one] for one in _missing(tasks, done)])


def _jobs(work: Work, request: Request) -> int:
    """How many runs are trained at a time; where that is to be found out, it is told."""
    longest = max(work.left, key=lambda run: work.costs[run.name].work)
    its = outline(longest.dataset, longest.row.method, longest.settings)
    jobs = number_of(request.jobs, its, len(work.left))
    if request.jobs == AUTO:
        work.say(f"--jobs auto: {jobs} runs at a time")
    if jobs > 1 and device_kind() == "cuda":
        work.say(told_of_gpu(jobs))
    return jobs


def _missing(tasks: Sequence[Task], done: Sequence[Done]) -> list[str]:
    """The names of the tasks that time did not allow to end."""
    ended = {one.task.name for one in done}
    return [task.name for task in tasks if task.name not in ended]


def _decode(runs: Sequence[Run], watcher: Watcher) -> None:
    """Decodes the images once, before several processes need them."""
    needed = {(run.dataset.folder, run.settings.size, run.settings.crop): run.dataset for run in runs}
    for (_, size, crop), dataset in needed.items():
        with watcher.steps("decoding images") as steps:
            open_cache(dataset, size, crop, steps)


def _task(run: Run, work: Work, request: Request) -> Task:
    log = request.out / LOGS / f"{run.name.replace('/', '.')}.log"
    source, cost = work.waits.get(run.name), work.costs[run.name]
    return Task(
        run.name,
        lambda: ["reproduce", *words_of(request), "--only", run.name],
        log,
        () if source is None else (source.name,),
        load=__name__,
        kind=cost.kind,
        work=cost.work,
        left=cost.left,
    )


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
