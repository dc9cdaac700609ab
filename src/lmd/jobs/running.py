"""Tasks side by side: which begins next, what is told of each, and how all of them are stopped.

A task is a command line of `lmd`. Its output goes to a log file, and one line is told when it has ended. A
task that fails does not stop the others. One that runs out of memory beside others is tried again alone. A
signal to stop reaches every task; once they have ended, it is given to this process again, as it would have
been without them.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from lmd.errors import OUT_OF_MEMORY, TRY_AGAIN
from lmd.jobs.deadline import Deadline
from lmd.jobs.shares import environment
from lmd.jobs.tasks import Done, Task
from lmd.jobs.workers import Child, Pool, Workers

_GRACE = 60.0  # Seconds that children have to save what they need before they are killed.
_GRACE_AT_DEADLINE = 10.0  # Later than that is too late; what a killed one has kept is as good.
_LOOK_EVERY = 0.05  # Seconds between two looks at the children.
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
]


def run_tasks(
    tasks: Sequence[Task],
    jobs: int,
    told: Callable[[Done], None],
    *,
    say: Callable[[str], None] = lambda line: None,
    deadline: Deadline | None = None,
    pool: Pool | None = None,
) -> list[Done]:
    """Runs tasks, `jobs` at a time, and returns how each ended, in the tasks' order.

    They run in processes of this machine, or in the `pool`. With one job a process has the environment of
    this one; with more, each has its share of the cores. `told` is called when a task has ended.

    What a `deadline` does not allow is not begun, and what runs when it comes is stopped as by SIGTERM. Such
    tasks are not among those that are returned.

    On SIGINT, SIGTERM, SIGHUP or SIGUSR1 no task begins any more and each child gets the signal. They have a
    minute to end; a second signal kills them at once.
    """
    running = _Running(list(tasks), pool or Workers(environment(jobs)), told, say, deadline)
    with _caught() as caught:
        try:
            running.go(jobs, caught)
        finally:
            running.kill()
    return [running.done[task.name] for task in tasks if task.name in running.done]


@dataclass
class _Running:
    """The tasks that wait, those that run, and those that have ended."""

    todo: list[Task]
    pool: Pool
    told: Callable[[Done], None]
    say: Callable[[str], None]
    deadline: Deadline | None
    children: list[Child] = field(default_factory=list[Child])
    done: dict[str, Done] = field(default_factory=dict[str, Done])
    alone: set[str] = field(default_factory=set[str])
    """the names of tasks that ran out of memory beside others"""

    def go(self, jobs: int, caught: list[int]) -> None:
        """Runs all tasks, until a signal or the deadline comes."""
        while self.todo or self.children:
            if caught:
                self.stop(caught[0], caught)
                return
            if self.deadline is not None and self.deadline.over:
                self.stop(signal.SIGTERM, caught)
                return
            self.begin(jobs)
            if not self.children:  # What is left cannot end in time.
                return
            self.note(self.ended())
            time.sleep(_LOOK_EVERY)

    def begin(self, jobs: int) -> None:
        """Starts what may start, in order; what has to be alone begins when nothing else can."""
        waiting = {task.name for task in self.todo} | {child.task.name for child in self.children}
        for task in [one for one in self.todo if waiting.isdisjoint(one.after) and self._in_time(one)]:
            if task.name not in self.alone and len(self.children) < self._places(jobs):
                self._start(task)
        lone = next((one for one in self.todo if one.name in self.alone and self._in_time(one)), None)
        if lone is not None and not self.children:
            self.pool.clear()
            self._start(lone)

    def _places(self, jobs: int) -> int:
        """How many may run now: beside one that is alone there is no place."""
        return 0 if any(child.task.name in self.alone for child in self.children) else jobs

    def _in_time(self, task: Task) -> bool:
        return self.deadline is None or self.deadline.allows(task)

    def _start(self, task: Task) -> None:
        self.todo.remove(task)
        self.children.append(self.pool.begin(task))

    def ended(self) -> list[Done]:
        """Takes the children out that have ended."""
        beside = len(self.children) > 1
        found = [(child, done) for child in self.children if (done := child.ended()) is not None]
        self.children = [child for child in self.children if child not in [one for one, _ in found]]
        return [done for _, done in found if not (beside and self._again(done))]

    def _again(self, done: Done) -> bool:
        """Whether a task that has ended is tried once more, alone."""
        if done.code != OUT_OF_MEMORY or done.task.name in self.alone:
            return False
        self.alone.add(done.task.name)
        self.todo.append(done.task)
        self.say(f"{done.task.name}: {done.error}; beside others: it is tried again alone")
        return True

    def note(self, found: Sequence[Done]) -> None:
        """Keeps and tells how tasks ended."""
        for done in found:
            self.done[done.task.name] = done
            if self.deadline is not None:
                self.deadline.note(done)
            self.told(done)

    def stop(self, number: int, caught: list[int]) -> None:
        """Passes a signal on and waits for the children to end; a further one ends the waiting."""
        for child in self.children:
            child.signal(number)
        until = time.monotonic() + (_GRACE if caught else _GRACE_AT_DEADLINE)
        heard = max(len(caught), 1)
        while self.children and len(caught) <= heard and time.monotonic() < until:
            found = self.ended()
            if not caught:  # The deadline: what had done its work before the signal came counts.
                self.note([done for done in found if not _stopped(done)])
            time.sleep(_LOOK_EVERY)

    def kill(self) -> None:
        """Ends what still runs."""
        for child in self.children:
            child.kill()
        self.children = []
        self.pool.clear()


def _stopped(done: Done) -> bool:
    """Whether a task ended because it was told to stop."""
    return done.code in (TRY_AGAIN, -signal.SIGTERM)


@contextmanager
def _caught() -> Iterator[list[int]]:
    """Gives a list that takes the signals to stop; the first is given again at the end.

    Only the main thread may do so; in another one the list stays empty.
    """
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        heard = [number for number in _SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
        before = {number: signal.signal(number, note) for number in heard}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        signal.raise_signal(caught[0])
