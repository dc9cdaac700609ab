"""Starts the processes of one training on this machine, and ends with them.

Each is a process of its own, which runs the command that this one was given. The first has the terminal. When
one fails, the others have some seconds to end before they are ended. A signal to stop reaches all of them.
"""

from __future__ import annotations

import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from lmd import stopping
from lmd.ending import end_with, tell
from lmd.errors import SettingsError
from lmd.jobs import share_of_cores
from lmd.parallel import CORES
from lmd.processes.speaking import TRY_AGAIN
from lmd.processes.starters import LAUNCHED, machine

_PARENT = "LMD_PARENT"
_LOOK_EVERY = 0.05  # Seconds between two looks at the processes.
_GRACE = 10.0  # Seconds that the others have to end in once one has failed, and once more when told to.
_SAVE = 60.0  # Seconds that all have to save and end in after a signal.


@dataclass
class _Child:
    """A process of the training, and where its complaints go."""

    rank: int
    process: subprocess.Popen[bytes]
    complaints: IO[bytes] | None

    def told(self) -> str | None:
        """The last line that it has for the user."""
        if self.complaints is None:
            return None
        self.complaints.seek(0)
        lines = self.complaints.read().decode(errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.startswith("lmd: ")), None)


def devices_asked(devices: str) -> int:
    """Returns how many processes this machine gets; "auto": one for each GPU, or one where there is none.

    Raises:
        SettingsError: it is no such number.
    """
    if devices == "auto":
        import torch

        return max(1, torch.cuda.device_count())
    if not devices.isdecimal() or int(devices) < 1:
        raise SettingsError(f"--devices {devices}: a number of processes from 1, or auto")
    return int(devices)


def launch(words: Sequence[str], devices: int, nodes: int) -> int:
    """Runs a command of lmd in `devices` processes here, of as many on each of `nodes` machines.

    Returns its exit code: that of the process that failed first, or of the first process.

    Raises:
        SettingsError: on several machines, the environment does not say which this is.
    """
    number, address, port = machine(nodes) if nodes > 1 else (0, "127.0.0.1", _free_port())
    shared = {"MASTER_ADDR": address, "MASTER_PORT": str(port), "WORLD_SIZE": str(devices * nodes)}
    children = [_started(words, number * devices + local, local, devices, shared) for local in range(devices)]
    try:
        return _waited(children, devices * nodes)
    except stopping.Stopped:
        return _stopped(children)
    finally:
        for child in children:
            child.process.kill()
            child.process.wait()
            if child.complaints is not None:
                child.complaints.close()


def _started(words: Sequence[str], rank: int, local: int, devices: int, shared: dict[str, str]) -> _Child:
    threads = {
        name: os.environ.get(name, str(share_of_cores(devices))) for name in ("OMP_NUM_THREADS", CORES)
    }
    own = {"RANK": str(rank), "LOCAL_RANK": str(local), LAUNCHED: "1", _PARENT: str(os.getpid())}
    leads = local == 0
    complaints = None if leads else tempfile.TemporaryFile()  # noqa: SIM115 - closed with this process.
    process = subprocess.Popen(
        # Without the present folder in the path of modules, as of the command: it may hold a random.py.
        [sys.executable, "-P", "-m", "lmd.launching", *words],
        stdin=subprocess.DEVNULL,
        stdout=None if leads else subprocess.DEVNULL,
        stderr=complaints,
        env={**os.environ, **threads, **shared, **own},
        start_new_session=True,  # So that Ctrl-C reaches it through this process alone.
    )
    return _Child(rank, process, complaints)


def _waited(children: list[_Child], world: int) -> int:
    """Waits until all have ended, or one has failed."""
    while True:
        codes = [child.process.poll() for child in children]
        failed = [child for child, code in zip(children, codes, strict=True) if code]
        if failed:
            return _failed(failed[0], children, world)
        if None not in codes:
            return 0
        time.sleep(_LOOK_EVERY)


def _failed(first: _Child, children: list[_Child], world: int) -> int:
    """Ends the others, says in one line what happened, and returns the exit code."""
    if not _all_end(children, _GRACE):
        for child in children:
            tell(child.process, signal.SIGTERM)
        _all_end(children, _GRACE)
    code = first.process.returncode
    worst = [child for child in children if child.process.poll() not in (0, None, TRY_AGAIN)]
    if worst and code == TRY_AGAIN:  # It has ended because another one did.
        first, code = worst[0], worst[0].process.returncode
    if code < 0:
        name = signal.Signals(-code).name
        print(
            f"lmd: process {first.rank + 1} of {world} was ended by {name}, perhaps for lack of memory; what "
            "was saved is kept: start the same command again with --resume",
            file=sys.stderr,
        )
        return TRY_AGAIN
    if (line := first.told()) is not None and children[0].process.poll() != code:
        print(line, file=sys.stderr)
    return code


def _stopped(children: list[_Child]) -> int:
    """Passes the signal on that has stopped this process, and returns the code of the first process."""
    number = stopping.asked() or signal.SIGTERM
    for child in children:
        tell(child.process, number)
    with suppress(stopping.Stopped):
        _all_end(children, _SAVE)
    code = children[0].process.poll()
    return TRY_AGAIN if code is None or code < 0 else code


def _all_end(children: list[_Child], seconds: float) -> bool:
    """Waits for all to end, and returns whether they did."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if all(child.process.poll() is not None for child in children):
            return True
        time.sleep(_LOOK_EVERY)
    return False


def _free_port() -> int:
    """A port on which nothing listens; another process may take it before the first one does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _child() -> None:
    """What a process does: it ends with the one that started it, and is the command `lmd` otherwise."""
    parent = os.environ.pop(_PARENT, None)
    if parent is not None:
        end_with(int(parent))
    sys.argv[0] = "lmd"
    runpy.run_module("lmd", run_name="__main__")


if __name__ == "__main__":
    _child()
