"""What a server refuses: a status, and one plain line without a path or a name of whoever asks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lmd.errors import LmdError

# Options of the command that messages name, and that are fields of a request.
_OPTION = re.compile(r"--(frame|sets|prior|bits)\b( N\b)?")


class RefusedError(Exception):
    """A request that is not answered: its status, and why in one line."""

    def __init__(self, status: int, line: str, headers: Mapping[str, str] | None = None) -> None:
        """Takes the HTTP status, the line, and headers that go with it."""
        super().__init__(line)
        self.status, self.line, self.headers = status, line, dict(headers or {})


def in_words_of_requests(error: LmdError) -> str:
    """Returns an error's line with fields of a request in place of the command's options.

    >>> in_words_of_requests(LmdError("choose it with --frame N"))
    "choose it with 'frame'"
    """
    return _OPTION.sub(lambda found: f"'{found[1]}'", " ".join(str(error).split()))


def without_path(error: LmdError, path: Path, number: int) -> str:
    """Returns an error's line about an upload, which is called by its number.

    >>> without_path(LmdError("image /proc/7/fd/3 is empty"), Path("/proc/7/fd/3"), 2)
    'image 2 is empty'
    """
    return in_words_of_requests(error).replace(str(path), str(number))
