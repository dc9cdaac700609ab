"""What a training tells whoever watches it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from lmd.parallel import Steps, quiet
from lmd.planning import Plan
from lmd.settings import Tree


class Progress(Protocol):
    """What shows a person how far a training is."""

    def planned(self, plan: Plan) -> None:
        """All that can be checked is checked, and the training is about to start."""
        ...

    def caching(self, done: int, total: int) -> None:
        """Images decoded so far."""
        ...

    def started(self, stage: str, epoch: int, epochs: int) -> None:
        """An epoch begins."""
        ...

    def stepped(self, done: int, total: int) -> None:
        """Steps done of the present epoch or M- or E-step."""
        ...

    def finished(self, record: Tree) -> None:
        """An epoch has ended; `record` is its line of metrics.jsonl."""
        ...


class Silent:
    """Shows nothing."""

    def planned(self, plan: Plan) -> None:
        """Shows nothing, and so measures nothing."""

    def caching(self, done: int, total: int) -> None:
        """Shows nothing."""

    def started(self, stage: str, epoch: int, epochs: int) -> None:
        """Shows nothing."""

    def stepped(self, done: int, total: int) -> None:
        """Shows nothing."""

    def finished(self, record: Tree) -> None:
        """Shows nothing."""


class Watcher(Protocol):
    """What shows a person how far several trainings are, one after another."""

    def training(self, title: str) -> AbstractContextManager[Progress]:
        """Gives what shows a training, for a while."""
        ...

    def steps(self, title: str) -> AbstractContextManager[Steps]:
        """Gives what shows the steps of something else, such as a test, for a while."""
        ...


class SilentWatcher:
    """Shows nothing."""

    @contextmanager
    def training(self, title: str) -> Iterator[Progress]:
        """Shows nothing."""
        yield Silent()

    @contextmanager
    def steps(self, title: str) -> Iterator[Steps]:
        """Shows nothing."""
        yield quiet
