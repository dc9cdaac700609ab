"""What there is to do, and how it ended: command lines of `lmd`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Task:
    """A command line of `lmd` to run: what it is called, its words, and the file of its output."""

    name: str
    words: Callable[[], Sequence[str]]
    """gives the words after `lmd`; asked when the task begins"""
    log: Path
    """takes what the command prints, after what is in it"""
    after: tuple[str, ...] = ()
    """the names of tasks that have to end first, well or badly"""
    load: str = ""
    """a module that the process imports before the task's time begins: it does so once for many tasks"""
    kind: str = ""
    """tasks of one kind take equally long"""
    work: float = 1.0
    """how much there is to do, in a unit that all tasks of a call share"""
    left: float = 1.0
    """the share of it that is not done yet"""


@dataclass(frozen=True)
class Done:
    """A task that has ended."""

    task: Task
    code: int
    """the exit code; of one that a signal ended, minus the signal"""
    seconds: float
    error: str | None
    """one line on what went wrong; None where nothing did"""
