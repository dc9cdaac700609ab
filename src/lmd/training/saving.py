"""When a run's state is written: by a thread, at most once in a while, and the last one where a run stops."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from lmd import run, stopping
from lmd.errors import SettingsError
from lmd.run import RunFolder
from lmd.settings import Tree
from lmd.training.checkpoint import fetched

SECONDS = 60.0
VARIABLE = "LMD_CHECKPOINT_SECONDS"


def seconds_between() -> float:
    """Returns how long a run goes on before its state is written again.

    Raises:
        SettingsError: the variable of the environment that says so is no such number.
    """
    told = os.environ.get(VARIABLE, "").strip()
    try:
        seconds = float(told) if told else SECONDS
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise SettingsError(f"{VARIABLE} = '{told}' is no number of seconds, which is 0 or more: unset it")
    return seconds


class Saver:
    """Keeps a copy of the state of the last finished epoch, and has a thread write it when it is time.

    There is one copy: the next is taken once the thread has written the one before. Where what runs under it
    ends with an error or a signal, the copy that is not written yet is. An error of the thread is raised by
    whatever is called next.
    """

    def __init__(self, folder: RunFolder) -> None:
        """Starts the clock."""
        self.folder, self.seconds = folder, seconds_between()
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None
        self._kept: Tree | None = None
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        """Watches over what runs under it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Writes what is kept and not written yet, unless all went well, and ends the thread."""
        with stopping.held():
            try:
                self._wait()
                if kind is not None and self._kept is not None:
                    run.save_checkpoint(self.folder, self._kept)
            finally:
                self._pool.shutdown()

    def keep(self, state: Callable[[], Tree], *, now: bool = False) -> None:
        """Takes the copy of a state that `state` returns; it is written if it is time, or `now`.

        No signal comes in between: there is a whole copy at each moment where a run can be stopped.
        """
        with stopping.held():
            self._wait()
            self._kept = None  # Its memory is free for the next.
            self._kept = state()
            if now or time.monotonic() - self._last >= self.seconds:
                self._write()
            if not self.seconds:
                self._wait()

    def save(self, state: Callable[[], Tree]) -> None:
        """Writes a state before it returns."""
        self.keep(state, now=True)
        self._wait()

    def check(self) -> None:
        """Raises the error of the thread, where it has ended with one."""
        if self._writing is not None and self._writing.done():
            self._wait()

    def _write(self) -> None:
        """Has the thread write what is kept; what lies on a GPU is fetched before."""
        assert self._kept is not None
        self._last, self._kept = time.monotonic(), fetched(self._kept)
        self._writing = self._pool.submit(run.save_checkpoint, self.folder, self._kept)

    def _wait(self) -> None:
        """Waits for the thread; what it has written need not be written again."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self._kept = None
            writing.result()
