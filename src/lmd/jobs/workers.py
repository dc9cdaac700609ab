"""Processes that run task after task, and the one that each of them is at."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from lmd.ending import kill_all, tell
from lmd.jobs.tasks import Done, Task

# After these exit codes (all went well; a mistake of the user's was told) a process is as good as new.
_REUSED_AFTER = (0, 2)
_SOON = 5.0  # Seconds that a process has to end in, once nothing is left to do for it.


class Child(Protocol):
    """A task that runs somewhere."""

    @property
    def task(self) -> Task:
        """What it does."""
        ...

    def ended(self) -> Done | None:
        """Returns how it ended; None where it still runs."""
        ...

    def signal(self, number: int) -> None:
        """Passes a signal on."""
        ...

    def kill(self) -> None:
        """Ends it at once."""
        ...


class Pool(Protocol):
    """Where tasks run."""

    def begin(self, task: Task) -> Child:
        """Starts a task."""
        ...

    def clear(self) -> None:
        """Ends what waits for further tasks."""
        ...


class _Reply(NamedTuple):
    """How a task ended: its exit code, and its seconds where the process could still tell them."""

    code: int
    seconds: float | None


@dataclass
class _Worker:
    """A process: its replies, and whether it is at a task."""

    process: subprocess.Popen[bytes]
    replies: queue.SimpleQueue[_Reply] = field(default_factory=queue.SimpleQueue[_Reply])

    def __post_init__(self) -> None:
        """Listens to the process in a thread: waiting for a line would stop all else."""
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as replies:
            for line in replies:
                if (found := re.fullmatch(rb"(\d+) ([\d.]+)\s*", line)) is not None:
                    self.replies.put(_Reply(int(found[1]), float(found[2])))

    def ask(self, task: Task) -> None:
        """Gives it a task; one that has just died is found out when its end is asked for."""
        asked = {"words": list(task.words()), "log": str(task.log), "load": task.load}
        line = json.dumps(asked) + "\n"
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()

    def reply(self) -> _Reply | None:
        """Returns how the task ended, or how the process died in it; None where it goes on."""
        dead = self.process.poll()
        if dead is not None:
            self.listener.join(_SOON)  # It may have said more than was read.
        with suppress(queue.Empty):
            return self.replies.get_nowait()
        return None if dead is None else _Reply(dead or 1, None)

    def dismiss(self) -> None:
        """Lets it end: there will be no further task."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def end(self, seconds: float) -> None:
        """Waits so long until it has ended by itself, and kills it then with all that it has started."""
        self.dismiss()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        if self.process.poll() is None:
            kill_all(self.process)
            self.process.wait()
        self.listener.join(_SOON)


@dataclass
class _AtWork:
    """A task in a worker: when it began, and where in the log its output begins."""

    task: Task
    worker: _Worker
    pool: Workers
    offset: int
    began: float = field(default_factory=time.monotonic)

    def ended(self) -> Done | None:
        """Returns how the task ended, and lets the worker wait for the next or go."""
        reply = self.worker.reply()
        if reply is None:
            return None
        code = reply.code
        self.pool.take_back(self.worker, code)
        seconds = time.monotonic() - self.began if reply.seconds is None else reply.seconds
        return Done(self.task, code, seconds, error_of(self.task, code, self.offset) if code else None)

    def signal(self, number: int) -> None:
        """Passes a signal on; the worker does nothing further."""
        tell(self.worker.process, number)
        self.worker.dismiss()

    def kill(self) -> None:
        """Kills the worker."""
        self.worker.end(0)


class Workers:
    """Processes of this machine: those that wait, and those that are about to end."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Starts none yet."""
        self.environment = {**environment, "LMD_PARENT": str(os.getpid())}
        self.waiting: list[_Worker] = []
        self.leaving: list[_Worker] = []

    def begin(self, task: Task) -> Child:
        """Gives a task to a worker that waits, or to a new one."""
        task.log.parent.mkdir(parents=True, exist_ok=True)
        task.log.touch()
        worker = self.waiting.pop() if self.waiting else self._new(task)
        offset = task.log.stat().st_size
        worker.ask(task)
        return _AtWork(task, worker, self, offset)

    def _new(self, first: Task) -> _Worker:
        # Without the present folder in the path of modules, as of the command: it may hold a random.py.
        words = [sys.executable, "-P", "-m", "lmd.jobs"]
        with first.log.open("ab") as log:
            # A session of its own, so that Ctrl-C reaches it through this process alone.
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
        return _Worker(process)

    def take_back(self, worker: _Worker, code: int) -> None:
        """Keeps a worker for the next task, or lets it go where its last one may have left something."""
        if code in _REUSED_AFTER and worker.process.poll() is None:
            self.waiting.append(worker)
        else:
            worker.dismiss()
            self.leaving.append(worker)

    def clear(self) -> None:
        """Ends all that is at no task, so that it holds no memory."""
        for worker in self.waiting:
            worker.dismiss()
        until = time.monotonic() + _SOON
        for worker in (*self.waiting, *self.leaving):
            worker.end(max(until - time.monotonic(), 0.0))
        self.waiting.clear()
        self.leaving.clear()


def error_of(task: Task, code: int, offset: int) -> str:
    """Returns what the log says of a failure, in one line; the task's output begins at the offset."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}, perhaps for lack of memory; see {task.log}"
    with task.log.open("rb") as log:
        log.seek(offset)
        lines = log.read().decode(errors="replace").splitlines()
    own = [line.removeprefix("lmd: ") for line in lines if line.startswith("lmd: ")]
    return own[-1] if own else f"exit code {code}; see {task.log}"
