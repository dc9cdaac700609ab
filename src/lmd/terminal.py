"""Progress on the terminal: bars for a person, plain lines for a log file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from lmd.parallel import Steps
from lmd.settings import Tree
from lmd.text import duration, visible

if TYPE_CHECKING:  # Bars are also shown by verbs that do without torch.
    from lmd.planning import Plan
    from lmd.planning.clock import Clock


def _progress(left: ProgressColumn) -> Progress:
    console = Console(stderr=True)
    title = TextColumn("{task.description}", markup=False)  # A name may look like markup.
    columns = (title, BarColumn(), MofNCompleteColumn(), left)
    return Progress(*columns, console=console, disable=not console.is_terminal)


@contextmanager
def bar(title: str) -> Iterator[Steps]:
    """Gives a function `(done, total)` that moves one bar."""
    with _progress(TimeRemainingColumn()) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class Watching:
    """Shows trainings and other steps one after another (see `lmd.training.progress.Watcher`)."""

    @contextmanager
    def training(self, title: str) -> Iterator[TrainingProgress]:
        """Gives the bars of a training, named by the title."""
        with TrainingProgress() as progress:
            progress.prefix = f"{title} "
            yield progress

    def steps(self, title: str) -> AbstractContextManager[Steps]:
        """Gives one bar."""
        return bar(title)


class _Visible(logging.Formatter):
    """Warnings name files, and a terminal would obey what is in a name."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


class TrainingProgress:
    """A bar for the stage and one for its present epoch; a line of loss terms after each epoch.

    Before the first there is the plan. The time left is that of the whole run, all stages together.
    """

    def __init__(self) -> None:
        """Makes the bars; they show once the context is entered."""
        self.progress = _progress(TextColumn("{task.fields[left]}"))
        self.tasks: dict[str, TaskID] = {}
        self.prefix = ""
        self.clock: Clock | None = None
        self.explained: set[str] = set()
        self.epochs = 0

    def __enter__(self) -> TrainingProgress:
        """Shows the bars, and lets the package's warnings through above them."""
        handler = logging.StreamHandler()
        handler.setFormatter(_Visible("%(message)s"))
        logging.basicConfig(handlers=[handler], level=logging.WARNING)
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Takes the bars away."""
        self.progress.stop()

    def planned(self, plan: Plan) -> None:
        """Prints the plan; one of several trainings is not rehearsed, and has but its warning printed."""
        alone = not self.prefix
        if alone:
            self._print("timing some steps of each stage on this machine ...")
        for line in plan.lines() if alone else [plan.warning] if plan.warning else []:
            self._print(line)
        self.clock = plan.clock(measured=alone)

    def caching(self, done: int, total: int) -> None:
        """Images decoded so far."""
        self._update("decoding images", done, total)

    def started(self, stage: str, epoch: int, epochs: int) -> None:
        """An epoch begins."""
        self.epochs = epochs
        if self.clock:
            self.clock.started(stage, epoch)
        self._update(f"{self.prefix}{stage}", epoch, epochs, self._left())

    def stepped(self, done: int, total: int) -> None:
        """Steps done of the present epoch or M- or E-step."""
        self._update("steps", done, total)
        if self.clock and self.clock.stepped(done, total) and (left := self._left()):
            self._print(f"after {done} steps: {left}")

    def finished(self, record: Tree) -> None:
        """Prints the line of an epoch: loss terms, validation, seconds, time left."""
        name = f"{self.prefix}{record['stage']}"
        if self.clock:
            self.clock.finished()
        self._explain(name, record)
        self._update(name, record["epoch"] + 1, self.epochs, self._left())
        self._print(self._line(name, record))

    def _explain(self, name: str, record: Tree) -> None:
        """Says what the terms of a stage are, once."""
        from lmd.stages.terms import legend

        if name not in self.explained and (meaning := legend(record["losses"])):
            self._print(f"{name}: {meaning}")
        self.explained.add(name)

    def _line(self, name: str, record: Tree) -> str:
        terms = " ".join(f"{term} {value:.4g}" for term, value in record["losses"].items())
        bacc = record["validation"].get("bacc")
        judged = f" | val bacc {bacc:.3f}" if bacc is not None else ""
        left = f", {self._left()}" if self._left() else ""
        place, took = f"{name} {record['epoch'] + 1}/{self.epochs}", f"{record['seconds']:.0f} s"
        return f"{place} | {terms}{judged} | {took}{left}"

    def _left(self) -> str:
        """The time left of the whole run; nothing where it is not known."""
        seconds = self.clock.left() if self.clock else None
        return "" if seconds is None else f"{duration(seconds)} left in all"

    def _print(self, line: str) -> None:
        self.progress.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _update(self, name: str, done: int, total: int, left: str = "") -> None:
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=total, left=left)
        self.progress.update(self.tasks[name], completed=done, total=total, left=left)
