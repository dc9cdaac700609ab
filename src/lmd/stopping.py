"""Signals that tell a process to stop become an exception in its main thread, once.

Python does so for SIGINT alone. `Stopped` is a KeyboardInterrupt, so that whatever ends on Ctrl-C ends on the
others in the same way: thread pools, temporary files, locks.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# SIGTERM: the machine is wanted back. SIGUSR1: a scheduler will start the same command again.
HEEDED = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
_AGAIN = 1.0  # Seconds. `timeout` sends its signal twice at once; a person presses Ctrl-C again later.
_IMPORTING = "<frozen importlib"  # Python drops exceptions in some places of its own imports.
_SOON = 0.02

_asked: list[tuple[int, float]] = []  # The signal that came first, and when.
_held: list[bool] = []  # What must not be stopped now, and whether it was asked to.
_noting: list[bool] = []  # Whether signals are noted alone: several processes stop together.


class Stopped(KeyboardInterrupt):
    """This process was told to stop."""


@contextmanager
def heeding() -> Iterator[None]:
    """Heeds the signals for a while; one that whoever started the process had ignored stays ignored."""
    _asked.clear()
    usual = {number: signal.getsignal(number) for number in HEEDED}
    main = threading.current_thread() is threading.main_thread()  # Python takes signals in it alone.
    heeded = [number for number, handler in usual.items() if main and handler is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, usual[number])


def asked() -> int | None:
    """Returns the signal that told this process to stop; None where none did."""
    return _asked[0][0] if _asked else None


def check() -> None:
    """Stops here where the process was told to stop, and something has swallowed the exception.

    Raises:
        Stopped: it was told to stop.
    """
    if _asked and not _noting and threading.current_thread() is threading.main_thread():
        raise Stopped


@contextmanager
def held() -> Iterator[None]:
    """Lets no signal stop what runs under it; one that came meanwhile stops it at the end.

    Where signals are noted alone, it stops nothing: all processes stop together later.

    Raises:
        Stopped: a signal has come meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _held.append(False)
    try:
        yield
    finally:
        came = _held.pop()
    if came and not _noting:
        raise Stopped


@contextmanager
def noting() -> Iterator[None]:
    """Notes a signal for a while and lets all go on: several processes stop at the same step, by `stop`."""
    _noting.append(True)
    try:
        yield
    finally:
        _noting.pop()


def stop(number: int) -> None:
    """Stops here, by a signal that this or another process was given.

    Raises:
        Stopped: always.
    """
    _asked[:] = [(number, time.monotonic())]
    raise Stopped


def _stop(number: int, frame: FrameType | None) -> None:
    """Raises at the first signal; a second Ctrl-C ends the process at once, all else lets it end in order."""
    now = time.monotonic()
    if frame is not None and frame.f_code.co_filename.startswith(_IMPORTING):
        again = threading.Timer(_SOON, _thread.interrupt_main, (number,))
        again.daemon = True
        again.start()
        return
    if not _asked:
        _asked.append((number, now))
        if _noting:
            return
        if not _held:
            raise Stopped
        _held[0] = True  # What is outermost.
        return
    if number == signal.SIGINT and now - _asked[0][1] > _AGAIN:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
