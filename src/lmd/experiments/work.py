"""The work of an experiment: each run trained and tested, one after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lmd.errors import SettingsError
from lmd.evaluation.judge import evaluate_run
from lmd.evaluation.results import Evaluation
from lmd.experiments.order import Cost, cost_of, in_order, sources_of
from lmd.experiments.request import Job
from lmd.experiments.reuse import ImageFiles, begin_anew, is_tested, write_tested
from lmd.experiments.runs import Run, start_of
from lmd.training.progress import Watcher
from lmd.training.start import train

Say = Callable[[str], None]


def wanted_runs(job: Job, runs: Sequence[Run], images: ImageFiles) -> list[Run]:
    """Returns the runs to look at: those of the rows asked for, and others with a test of something else."""
    return [run for run in runs if run.row in job.chosen or _to_be_tested_again(run, images)]


def _to_be_tested_again(run: Run, images: ImageFiles) -> bool:
    return run.finished and run.folder.evaluation("test").is_file() and not is_tested(run, images)


@dataclass
class Work:
    """Some runs to train and to test, and what is told of each."""

    runs: Sequence[Run]
    """all runs of the table: any may have trained a first stage that another needs"""
    wanted: Sequence[Run]
    say: Say
    failures: dict[str, str] = field(default_factory=dict[str, str])
    """by the name of a run: why it failed"""
    late: list[str] = field(default_factory=list[str])
    """the names of runs that time did not allow to end"""
    left: list[Run] = field(default_factory=list[Run])
    """what is not done, in the order in which it begins"""
    waits: dict[str, Run] = field(default_factory=dict[str, Run])
    """by the name of a run: the one that trains its first stage"""
    costs: dict[str, Cost] = field(default_factory=dict[str, Cost])

    def place(self, run: Run) -> str:
        """Returns the run's number and name."""
        return f"[{self.wanted.index(run) + 1}/{len(self.wanted)}] {run.name}"

    def look(self, images: ImageFiles) -> None:
        """Finds out what is not done and which of it comes first, and tells of what is done."""
        left: list[Run] = []
        for run in self.wanted:
            if is_tested(run, images):
                self.say(f"{self.place(run)}: finished before")
            else:
                left.append(run)
        self.waits = sources_of(left, self.runs)
        self.costs = {run.name: cost_of(run, self.runs, run.name in self.waits) for run in left}
        self.left = in_order(left, self.waits, self.costs)

    def not_in_time(self, late: Sequence[Run]) -> None:
        """Keeps and tells what time did not allow to end."""
        self.late = [run.name for run in late]
        for run in late:
            standing = "interrupted" if run.begun else "not begun"
            self.say(f"{self.place(run)}: {standing}, goes on with the next call")

    def failed(self, run: Run, reason: str) -> None:
        """Keeps and tells why a run failed."""
        self.failures[run.name] = reason
        self.say(f"{self.place(run)}: failed: {reason}")

    def done(self, run: Run, result: Evaluation, seconds: float) -> None:
        """Tells of a run that has been trained and tested."""
        score = result.metrics["bacc"].value
        told = "undefined" if score is None else f"{score:.3f}"
        self.say(f"{self.place(run)}: balanced accuracy {told} on test, {seconds:.0f} s")


def one_after_another(work: Work, watcher: Watcher) -> None:
    """Trains and tests what is left; a training that diverges is told, and the others go on."""
    for run in work.left:
        began = time.perf_counter()
        try:
            result = train_and_test(run, work.runs, work.place(run), watcher)
        except SettingsError as error:
            work.failed(run, str(error))
        else:
            work.done(run, result, time.perf_counter() - began)


def train_and_test(run: Run, runs: Sequence[Run], place: str, watcher: Watcher) -> Evaluation:
    """Trains a run, or goes on with it, and tests it.

    Raises:
        SettingsError: the training diverged.
    """
    begin_anew(run)
    with watcher.training(place) as progress:
        train(
            run.dataset,
            run.row.method,
            run.settings,
            run.folder.path,
            start=start_of(run, runs),
            resume=run.begun,
            progress=progress,
        )
    with watcher.steps(f"{place} test") as steps:
        result = evaluate_run(run.folder, "test", run.dataset, steps)
    write_tested(run)
    return result
