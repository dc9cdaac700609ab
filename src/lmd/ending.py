"""Other processes are told to stop, or ended: with signals where there are such, and plainly on Windows.

It is the only file that sends signals to other processes. Windows has none for them: what is told to stop
there is ended, as the operating system does it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

_DEATH_SIGNAL = 1  # The number of prctl's PR_SET_PDEATHSIG.
_LOOK_EVERY = 0.1


def tell(process: subprocess.Popen[bytes], number: int) -> None:
    """Passes a signal on to a process that still runs."""
    with suppress(ProcessLookupError):
        if process.poll() is not None:
            return
        if sys.platform == "win32":
            process.terminate()
        else:
            process.send_signal(number)


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """Kills a process and, where it leads a session of its own, all that it has started."""
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def end_with(parent: int) -> None:
    """Lets this process end when the one that started it does, where the kernel can do that: on Linux.

    Elsewhere it ends when it reads that its input has ended, or when it has done its work.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:  # It had ended before.
            sys.exit(1)


def has_signals() -> bool:
    """Returns whether processes can send each other signals here: everywhere but on Windows."""
    return sys.platform != "win32"


def save_and_end(pid: int, seconds: float) -> None:
    """Tells a child to save what it has (SIGUSR1), and waits so long for its end at most.

    Raises:
        ProcessLookupError, ChildProcessError: it has ended before.
    """
    if sys.platform != "win32":
        os.kill(pid, signal.SIGUSR1)
        until = time.monotonic() + seconds
        while time.monotonic() < until and not _has_ended(pid):
            time.sleep(_LOOK_EVERY)


def _has_ended(pid: int) -> bool:
    """Whether a child has ended, without taking its exit code: whoever was waiting before may hold a lock.

    Only Linux is asked. macOS can say it since Python 3.13; there the whole time is waited.
    """
    if sys.platform == "linux":
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return False
