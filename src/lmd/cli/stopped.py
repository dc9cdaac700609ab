"""What is said, and with which code the command ends, once a signal has stopped it."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lmd.errors import TRY_AGAIN, LmdError
from lmd.processes.speaking import speaks
from lmd.stopping import asked

INTERRUPTED = 130  # As shells say that Ctrl-C ended something: 128 + SIGINT.

# The verbs that go on where they were when they are called again.
_GOES_ON = ("train", "reproduce", "demo")

# What is running: the name of the verb, and its arguments and options by name.
_running: list[tuple[str, Mapping[str, Any]]] = []


def remember(verb: str, values: Mapping[str, Any]) -> None:
    """Keeps what is running, for the message where a signal stops it."""
    _running[:] = [(verb, values)]


def ended(run: Callable[[], int]) -> int:
    """Runs the command and returns its exit code; a signal that stopped it is told, whatever it led to.

    Work that was done before the signal could stop it is done: the code is that of the work.
    """
    try:
        code = run()
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if asked() is None and not isinstance(error, KeyboardInterrupt):
            raise
        code = INTERRUPTED
    if code != INTERRUPTED:
        return code
    number = asked() or signal.SIGINT
    if speaks():
        print(f"lmd: {message(number, sys.argv[1:])}", file=sys.stderr)
    return exit_code(number)


def exit_code(number: int) -> int:
    """Returns with which code the command ends after a signal.

    SIGUSR1 asks for a stop that counts as success: whoever sends it starts the same command again. Where that
    would not go on, nothing has been done, and the code says so.
    """
    if number == signal.SIGINT:
        return INTERRUPTED
    goes_on = bool(_running) and _running[0][0] in _GOES_ON
    return TRY_AGAIN if number == signal.SIGTERM or not goes_on else 0


def message(number: int, words: Sequence[str]) -> str:
    """Returns how to go on after a signal, as a command that can be pasted."""
    told = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
    verb, values = _running[0] if _running else ("", {})
    if verb == "train":
        from lmd.run_folder import RunFolder  # Of use to this verb alone.

        kept = "; the last finished epoch is kept" if RunFolder(values["out"]).checkpoint.is_file() else ""
        return f"{told}{kept}; go on with: {_resuming(values, words)}"
    how = "go on with" if verb in _GOES_ON else "start again with"
    return f"{told}; {how}: {shlex.join(['lmd', *_without_secrets(words)])}"


def _without_secrets(words: Sequence[str]) -> list[str]:
    """The words of a command without the value of --token.

    >>> _without_secrets(["serve", "RUN", "--token", "secret"]), _without_secrets(["--token=secret"])
    (['serve', 'RUN', '--token', 'TOKEN'], ['--token=TOKEN'])
    """
    after = ["", *words[:-1]]
    return [
        "TOKEN" if before == "--token" else "--token=TOKEN" if word.startswith("--token=") else word
        for before, word in zip(after, words, strict=True)
    ]


def _resuming(values: Mapping[str, Any], words: Sequence[str]) -> str:
    """The command that goes on with a training: a run that has begun knows its own settings."""
    if _knows_itself(Path(values["out"])):
        several = [] if values.get("devices") is None else ["--devices", str(values["devices"])]
        words = ["lmd", "train", str(values["data"]), "--resume", *several, "--out", str(values["out"])]
        return shlex.join(words)
    return shlex.join(["lmd", *words, *([] if "--resume" in words else ["--resume"])])


def _knows_itself(out: Path) -> bool:
    """Whether a run can go on without being told its settings; code of the user's own is named each time."""
    from lmd.run import RunFolder, read_identity

    run = RunFolder(out)
    try:
        saved = read_identity(run)
    except LmdError:
        return False
    started = run.checkpoint.is_file() or run.model.is_file() or saved["from_sha256"] is None
    return started and not str(saved["method"]).endswith(".py")
