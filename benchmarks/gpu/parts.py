"""A part: commands one after another, cut when its time is over, with all they print in a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

_GRACE = 10.0  # Seconds between the request to stop and the end.
ROOT = Path(__file__).parents[2]


@dataclass
class Budget:
    """The seconds of the whole call."""

    seconds: float
    begun: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return self.begun + self.seconds - time.monotonic()

    def share(self, part: float) -> float:
        """Returns a share of all seconds, but no more than are left."""
        return max(min(part * self.seconds, self.left), 1.0)


@dataclass(frozen=True)
class Result:
    """How a part ended."""

    name: str
    seconds: float
    code: int
    cut: bool
    """whether its time was over"""


def command(*words: object) -> list[str]:
    """Returns the command that runs a module with this interpreter."""
    return [sys.executable, "-m", *map(str, words)]


def begin(name: str, words: Sequence[str], out: Path, more: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Starts a command whose output goes to `out/name.log`."""
    with (out / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            words,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **more},
            start_new_session=True,
        )


def run(name: str, words: Sequence[str], out: Path, seconds: float, more: Mapping[str, str]) -> Result:
    """Runs a command for so many seconds at most, and appends how it ended to `out/parts.jsonl`."""
    begun = time.monotonic()
    process = begin(name, words, out, more)
    result = finish(name, process, seconds, begun)
    with (out / "parts.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(result)) + "\n")
    told = ", cut" if result.cut else f", exit code {result.code}" if result.code else ""
    print(f"{name}: {result.seconds:.0f} s{told}", flush=True)
    return result


def finish(name: str, process: subprocess.Popen[bytes], seconds: float, begun: float) -> Result:
    """Waits so long for a command, and stops it then."""
    cut = False
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        cut = True
        _stop(process)
    return Result(name, round(time.monotonic() - begun, 1), process.returncode, cut)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Asks a command and all that it has started to stop, and ends what does not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
            return
