"""The command as a test runs it: the type of the `lmd` fixture, and what every refusal looks like."""

from __future__ import annotations

import resource
from collections.abc import Callable

Command = Callable[..., tuple[int, str, str]]


def refused(result: tuple[int, str, str], *words: str) -> None:
    """Asserts one line on stderr, exit code 2, no traceback, and that the line says what is wrong."""
    code, _, err = result
    assert code == 2, err
    lines = [line for line in err.splitlines() if line.startswith("lmd: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    assert all(word in lines[0] for word in words), lines[0]


def child_seconds() -> float:
    """Processor time of the processes that have ended; other work on the machine does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
