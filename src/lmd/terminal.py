"""Progress on the terminal: bars for a person, plain lines for a log file."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lmd.parallel import Steps
from lmd.settings import Tree
from lmd.text import visible


def _progress() -> Progress:
    console = Console(stderr=True)
    title = TextColumn("{task.description}", markup=False)  # A name may look like markup.
    columns = (title, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


@contextmanager
def bar(title: str) -> Iterator[Steps]:
    """Gives a function `(done, total)` that moves one bar."""
    with _progress() as progress:
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
    """A bar for the stage and one for its present epoch; a line of loss terms after each epoch."""

    def __init__(self) -> None:
        """Makes the bars; they show once the context is entered."""
        self.progress = _progress()
        self.tasks: dict[str, TaskID] = {}
        self.prefix = ""
        self.began: dict[str, float] = {}
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

    def caching(self, done: int, total: int) -> None:
        """Images decoded so far."""
        self._update("decoding images", done, total)

    def started(self, stage: str, epoch: int, epochs: int) -> None:
        """An epoch begins."""
        self.began.setdefault(f"{self.prefix}{stage}", time.perf_counter())
        self.epochs = epochs
        self._update(f"{self.prefix}{stage}", epoch, epochs)

    def stepped(self, done: int, total: int) -> None:
        """Steps done of the present epoch or M- or E-step."""
        self._update("steps", done, total)

    def finished(self, record: Tree) -> None:
        """Prints the line of an epoch: loss terms, validation, seconds, time left."""
        name = f"{self.prefix}{record['stage']}"
        self._update(name, record["epoch"] + 1, self.epochs)
        self.progress.console.print(self._line(name, record), highlight=False, markup=False, soft_wrap=True)

    def _line(self, name: str, record: Tree) -> str:
        terms = " ".join(f"{term} {value:.4g}" for term, value in record["losses"].items())
        bacc = record["validation"].get("bacc")
        judged = f" | val bacc {bacc:.3f}" if bacc is not None else ""
        left = record["seconds"] * (self.epochs - record["epoch"] - 1)
        return (
            f"{name} {record['epoch'] + 1}/{self.epochs} | {terms}{judged} | "
            f"{record['seconds']:.0f} s, {left / 60:.0f} min left"
        )

    def _update(self, name: str, done: int, total: int) -> None:
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=total)
        self.progress.update(self.tasks[name], completed=done, total=total)
