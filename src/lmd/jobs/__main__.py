"""What a process of `--jobs` does: command after command, as lines of JSON ask for them.

A line on its standard input names the words of a command and the file of its output; a line on its standard
output says the exit code and the seconds. What all commands need, such as torch and a GPU's context, is so
loaded once. The process ends with its input, and with its parent.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmd.ending import end_with

PARENT = "LMD_PARENT"


def serve() -> None:
    """Runs what is asked for until the input ends."""
    with os.fdopen(os.dup(1), "w") as replies:
        for line in sys.stdin:
            asked = json.loads(line)
            _write_to(Path(asked["log"]))
            if asked["load"]:
                importlib.import_module(asked["load"])
            begun = time.monotonic()
            code = _run(asked["words"])
            print(code, round(time.monotonic() - begun, 3), file=replies, flush=True)


def _write_to(log: Path) -> None:
    """Lets all that this process writes go to a file, after what is in it."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _run(words: Sequence[str]) -> int:
    """Runs a command as a process of its own would; returns its exit code."""
    sys.argv = ["lmd", *words]
    try:
        runpy.run_module("lmd", run_name="__main__")
        code: Any = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    _forget()
    return code if isinstance(code, int) else int(code is not None)


def _forget() -> None:
    """Gives back the memory of a command, so that others have it while this process waits."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _end_with_parent() -> None:
    parent = os.environ.pop(PARENT, None)
    if parent is not None:
        end_with(int(parent))


if __name__ == "__main__":
    _end_with_parent()
    try:
        serve()
    except KeyboardInterrupt:  # Between two commands; in one, the command heeds it.
        sys.exit(130)
