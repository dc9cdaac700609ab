"""What `--exclude` leaves out: patterns for the ends of paths below a folder."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path


def is_excluded(path: Path, top: Path, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns leaves out a file or folder below `top`."""
    if not patterns:
        return False
    root = top.as_posix()
    below = (pattern.removeprefix(f"{root}/") for pattern in patterns)
    return matches(path.relative_to(top).as_posix(), below)


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether the end of a path, from any of its folders on, fits one of the patterns.

    >>> matches("a/masks/x.png", ["./masks/*"]), matches("a/masks", ["masks/"]), matches("a", ["b"])
    (True, True, False)
    """
    parts = path.strip("/").split("/")
    ends = ["/".join(parts[place:]) for place in range(len(parts))]
    forms = {form for pattern in patterns for form in _forms(pattern)}
    return any(fnmatch.fnmatchcase(end, form) for form in forms for end in ends)


@cache
def _forms(pattern: str) -> tuple[str, ...]:
    """A pattern as it is written, and without what a shell or Windows adds: "./a", "**/a", backslashes."""
    return tuple(
        re.sub(r"^(?:(?:\.|\*\*)?/)+", "", form).rstrip("/") or form
        for form in (pattern, pattern.replace("\\", "/"))
    )
