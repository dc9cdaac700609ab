"""Runs the trainings of folds: one after another in this process, or side by side in others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lmd.data.dataset.manifest import Dataset
from lmd.data.decode.cache import open_cache
from lmd.errors import LmdError
from lmd.folds.folder import FoldsRun
from lmd.jobs import Cluster, Deadline, Done, Pool, Task, run_tasks, share_of_cores, told_of_gpu
from lmd.planning import Plan
from lmd.planning.fitting import Jobs, number_of
from lmd.planning.outline import left_of, outline
from lmd.processes.starters import place
from lmd.records import read_metrics
from lmd.reporting.card import write_card
from lmd.reporting.report import write_report
from lmd.run import RunFolder, read_model_card
from lmd.runtime import device_kind
from lmd.settings import CommonSettings, Tree
from lmd.training import start as training
from lmd.training.logs import logging_to
from lmd.training.progress import Progress

Say = Callable[[str], None]
LOGS = "logs"


@dataclass(frozen=True)
class SideBySide:
    """How folds are trained in processes: so many at a time, and for how many seconds from when it began."""

    jobs: Jobs = 1
    deadline: float | None = None
    executor: str | None = None
    slurm: Sequence[str] = ()
    begun: float = field(default_factory=time.monotonic)

    @property
    def beside(self) -> bool:
        """Whether folds are trained in processes of their own."""
        return self.jobs != 1 or self.deadline is not None or self.executor is not None

    def until(self) -> Deadline | None:
        """Returns when all has to be over, where that was asked for."""
        return None if self.deadline is None else Deadline.after(self.deadline, self.begun)


@dataclass(frozen=True)
class Fold:
    """One training: a data set, its run folder, and what `--from` and `--log` say of it."""

    name: str
    dataset: Dataset
    folder: RunFolder
    start: RunFolder | None
    log: str | None

    @property
    def begun(self) -> bool:
        """Whether there is something to go on with."""
        return self.folder.settings.is_file()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do: the model card is what a training writes last."""
        return self.folder.model.is_file() and (self.folder.path / "MODEL_CARD.md").is_file()


def train_one(
    dataset: Dataset,
    out: Path,
    method: str,
    settings: CommonSettings,
    start: RunFolder | None,
    resume: bool,
    log: str | None,
    progress: Progress,
) -> RunFolder:
    """Trains a method on one data set and returns its run folder, with its report and model card.

    Raises:
        SettingsError, DataError, CheckpointError: one line on what is wrong.
    """
    leads = place().leads  # Of several processes the first alone writes.
    with logging_to(log if leads else None, RunFolder(out), progress) as watcher:
        folder = training.train(dataset, method, settings, out, start=start, resume=resume, progress=watcher)
    if not leads:
        return folder
    write_report(folder.path)
    write_card(folder.path)
    return folder


def one_by_one(
    plan: list[Fold], method: str, settings: CommonSettings, progress: Progress, say: Say
) -> dict[str, str]:
    """Trains folds in this process; returns why some have failed."""
    failed: dict[str, str] = {}
    for fold in plan:
        try:
            train_one(
                fold.dataset, fold.folder.path, method, settings,
                fold.start, fold.begun, fold.log, _Named(progress, fold.name),
            )  # fmt: skip
        except LmdError as error:
            failed[fold.name] = str(error)
            say(f"{fold.name}: failed: {error}")
        else:
            say(f"{fold.name}: {result_of(fold)}")
    return failed


def side_by_side(
    plan: list[Fold],
    run: FoldsRun,
    settings: CommonSettings,
    how: SideBySide,
    progress: Progress,
    say: Say,
) -> tuple[dict[str, str], list[str]]:
    """Trains folds in child processes; returns why some have failed, and which did not end in time."""
    for fold in plan:  # Decoded once, with all cores, before several processes want the same images.
        open_cache(fold.dataset, settings.size, settings.crop, progress.caching)
    pool, jobs = _pool(plan, run, settings, how, say)
    by_name = {fold.name: fold for fold in plan}

    def told(done: Done) -> None:
        name = done.task.name
        say(f"{name}: {result_of(by_name[name]) if done.error is None else f'failed: {done.error}'}")

    tasks = [_task(fold, run, settings) for fold in plan]
    done = run_tasks(tasks, jobs, told, say=say, deadline=how.until(), pool=pool)
    failed = {one.task.name: one.error for one in done if one.error is not None}
    ended = {one.task.name for one in done}
    return failed, [fold.name for fold in plan if fold.name not in ended]


def _pool(
    plan: list[Fold], run: FoldsRun, settings: CommonSettings, how: SideBySide, say: Say
) -> tuple[Pool | None, int]:
    """Where folds are trained, and how many at a time; it is told."""
    if how.executor is not None:
        jobs = int(how.jobs)
        say(f"{len(plan)} folds, each a job of its own, {jobs} at a time")
        return Cluster(how.executor, how.slurm, run.path / LOGS), jobs
    longest = outline(plan[0].dataset, run.info.method, settings, plan[0].start is not None)
    jobs = number_of(how.jobs, longest, len(plan))
    threads = share_of_cores(jobs)
    say(
        f"{len(plan)} folds, {jobs} at a time with {threads} thread{'' if threads == 1 else 's'} each "
        "(weights depend on the number of threads)"
    )
    if jobs > 1 and device_kind() == "cuda":
        say(told_of_gpu(jobs))
    return None, jobs


def _task(fold: Fold, run: FoldsRun, settings: CommonSettings) -> Task:
    log = run.path / LOGS / f"{fold.name.replace('/', '-')}.log"
    legs = outline(fold.dataset, run.info.method, settings, fold.start is not None).legs
    return Task(fold.name, partial(_words, fold, run), log, load=__name__, left=left_of(fold.folder, legs))


def _words(fold: Fold, run: FoldsRun) -> list[str]:
    """The command that trains a fold: every setting stands in the recipe."""
    words = ["train", str(fold.dataset.folder), "--out", str(fold.folder.path)]
    words += ["--method", run.info.method, "--recipe", str(run.recipe), "--budget", "paper"]
    words += [] if fold.start is None else ["--from", str(fold.start.path)]
    words += [] if fold.log is None else ["--log", fold.log]
    return [*words, "--resume"]  # A job of a cluster begins again with these same words.


def result_of(fold: Fold) -> str:
    """What is told of a fold that has finished."""
    card = read_model_card(fold.folder)
    last = read_metrics(fold.folder.path)[-1:]  # None where a first stage was taken over and nothing trained.
    score = card.validation_bacc or (last[0]["validation"].get("bacc") if last else None)
    judged = "no validation score" if score is None else f"validation balanced accuracy {score:.3f}"
    return f"{judged}, {card.training_seconds:.0f} s"


class _Named:
    """Shows the training of a fold: its name stands before those of its stages."""

    def __init__(self, progress: Progress, name: str) -> None:
        self.progress, self.name = progress, name

    def planned(self, plan: Plan) -> None:
        """The plan of all folds was shown before the first."""

    def caching(self, done: int, total: int) -> None:
        self.progress.caching(done, total)

    def started(self, stage: str, epoch: int, epochs: int) -> None:
        self.progress.started(f"{self.name} {stage}", epoch, epochs)

    def stepped(self, done: int, total: int) -> None:
        self.progress.stepped(done, total)

    def finished(self, record: Tree) -> None:
        self.progress.finished({**record, "stage": f"{self.name} {record['stage']}"})
