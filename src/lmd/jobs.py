"""Commands of lmd side by side: each in a process of its own, with its share of the cores.

A task is a command line of `lmd`. Its output goes to a log file, and one line is told when it has ended. A
task that fails does not stop the others. A signal to stop reaches every child; once they have ended, it is
given to this process again, as it would have been without children.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from lmd.errors import SettingsError
from lmd.parallel import CORES, num_cores

# What limits the threads of the libraries that compute.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_PARENT = "LMD_PARENT"
_DEATH_SIGNAL = 1  # The number of prctl's PR_SET_PDEATHSIG.
_GRACE = 60.0  # Seconds that children have to save what they need before they are killed.
_LOOK_EVERY = 0.05  # Seconds between two looks at the children.
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
]


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


@dataclass(frozen=True)
class Done:
    """A task that has ended."""

    task: Task
    code: int
    """the exit code; of one that a signal ended, minus the signal"""
    seconds: float
    error: str | None
    """one line on what went wrong; None where nothing did"""


def check_jobs(jobs: int, number: int, what: str) -> None:
    """Refuses numbers of processes that make no sense.

    Raises:
        SettingsError: there is not one, or more than there are tasks.

    >>> check_jobs(2, 5, "folds")
    """
    if not 1 <= jobs <= number:
        raise SettingsError(f"--jobs {jobs}: there are {number} {what}, so it must be from 1 to {number}")


def share_of_cores(jobs: int) -> int:
    """Returns how many threads each of so many processes has: never more than the user allows one."""
    share, allowed = num_cores() // jobs, os.environ.get(_THREADS[0], "")
    return max(1, min(share, int(allowed)) if allowed.isdigit() else share)


def run_tasks(tasks: Sequence[Task], jobs: int, told: Callable[[Done], None]) -> list[Done]:
    """Runs tasks in child processes, `jobs` at a time, and returns how each ended, in the tasks' order.

    With one job a child has the environment of this process; with more, each has its share of the cores.
    `told` is called when a task has ended. On SIGINT, SIGTERM, SIGHUP or SIGUSR1 no task begins any more
    and each child gets the signal. They have a minute to end; a second signal kills them at once.
    """
    running = _Running(list(tasks), _environment(jobs))
    with _caught() as caught:
        try:
            while running.todo or running.children:
                if caught:
                    running.stop(caught)
                    break
                running.begin(jobs)
                for done in running.ended():
                    told(done)
                time.sleep(_LOOK_EVERY)
        finally:
            running.kill()
    return [running.done[task.name] for task in tasks if task.name in running.done]


def _environment(jobs: int) -> dict[str, str]:
    told = {_PARENT: str(os.getpid())}
    if jobs > 1:
        told |= dict.fromkeys((*_THREADS, CORES), str(share_of_cores(jobs)))
    return {**os.environ, **told}


@dataclass
class _Child:
    """A task that runs: its process, when it began, and where in the log its output begins."""

    task: Task
    process: subprocess.Popen[bytes]
    began: float
    offset: int

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kills it with all that it has started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class _Running:
    """The tasks that wait, those that run, and those that have ended."""

    todo: list[Task]
    environment: dict[str, str]
    children: list[_Child] = field(default_factory=list)
    done: dict[str, Done] = field(default_factory=dict)

    def begin(self, jobs: int) -> None:
        """Starts what may start, in order."""
        waiting = {task.name for task in self.todo} | {child.task.name for child in self.children}
        for task in [one for one in self.todo if waiting.isdisjoint(one.after)]:
            if len(self.children) < jobs:
                self.todo.remove(task)
                self.children.append(self._started(task))

    def _started(self, task: Task) -> _Child:
        # Without the present folder in the path of modules, as of the command: it may hold a random.py.
        words = [sys.executable, "-P", "-m", "lmd.jobs", *task.words()]
        task.log.parent.mkdir(parents=True, exist_ok=True)
        with task.log.open("ab") as log:
            offset = log.tell()  # The child moves it.
            # A session of its own, so that Ctrl-C reaches it through this process alone.
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )
            return _Child(task, process, time.monotonic(), offset)

    def ended(self) -> list[Done]:
        """Takes the children out that have ended."""
        ended = [child for child in self.children if child.process.poll() is not None]
        self.children = [child for child in self.children if child not in ended]
        found = [_done(child) for child in ended]
        self.done |= {done.task.name: done for done in found}
        return found

    def stop(self, caught: list[int]) -> None:
        """Passes a signal on and waits for the children to end; a second one ends the waiting."""
        for child in self.children:
            child.signal(caught[0])
        until = time.monotonic() + _GRACE
        while self.children and len(caught) == 1 and time.monotonic() < until:
            self.ended()
            time.sleep(_LOOK_EVERY)

    def kill(self) -> None:
        """Ends what still runs."""
        for child in self.children:
            child.kill()
        self.children = []


def _done(child: _Child) -> Done:
    code, seconds = child.process.wait(), time.monotonic() - child.began
    return Done(child.task, code, seconds, _error(child, code) if code else None)


def _error(child: _Child, code: int) -> str:
    """What the log says of a failure, in one line."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}, perhaps for lack of memory; see {child.task.log}"
    with child.task.log.open("rb") as log:
        log.seek(child.offset)
        lines = log.read().decode(errors="replace").splitlines()
    own = [line.removeprefix("lmd: ") for line in lines if line.startswith("lmd: ")]
    return own[-1] if own else f"exit code {code}; see {child.task.log}"


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


def _child() -> None:
    """What a child does: it ends with its parent, and is the command `lmd` otherwise."""
    parent = os.environ.pop(_PARENT, None)
    if parent is not None and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != int(parent):  # It had ended before.
            sys.exit(1)
    sys.argv[0] = "lmd"
    runpy.run_module("lmd", run_name="__main__")


if __name__ == "__main__":
    _child()
