"""What a training tells whoever watches it."""

from __future__ import annotations

from typing import Protocol

from lmd.settings import Tree


class Progress(Protocol):
    """What shows a person how far a training is."""

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

    def caching(self, done: int, total: int) -> None:
        """Shows nothing."""

    def started(self, stage: str, epoch: int, epochs: int) -> None:
        """Shows nothing."""

    def stepped(self, done: int, total: int) -> None:
        """Shows nothing."""

    def finished(self, record: Tree) -> None:
        """Shows nothing."""
