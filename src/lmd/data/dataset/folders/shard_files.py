"""Which tar files are meant: a folder, files, and patterns with braces or asterisks."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from lmd.data.decode.members import TAR
from lmd.errors import DataError

_MOST = 100_000  # Shards: a pattern is easily mistyped.
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_PROGRAM = re.compile(r"pipe:|[a-z][a-z0-9+]*://", re.IGNORECASE)


def shard_files(named: Sequence[str]) -> list[Path]:
    """Returns the shards, in the order in which they are named, each once.

    Raises:
        DataError: there is none, or one is not there, or is no tar file.
    """
    found: dict[Path, None] = {}
    for text in named:
        if _PROGRAM.match(text):
            raise DataError(f"--shards '{text}': shards are read from disk; copy them there first")
        found |= dict.fromkeys(path.resolve() for word in braced(text) for path in _files(word))
    return list(found)


def braced(text: str) -> list[str]:
    """Returns what a pattern with braces stands for.

    >>> braced("a-{08..10}.tar"), braced("{x,y}.tar")
    (['a-08.tar', 'a-09.tar', 'a-10.tar'], ['x.tar', 'y.tar'])
    """
    todo, done = [text], list[str]()
    while todo:
        word = todo.pop()
        match = _BRACES.search(word)
        if match is None:
            done.append(word)
        else:
            todo += [word[: match.start()] + part + word[match.end() :] for part in _parts(match[1])][::-1]
        if len(todo) + len(done) > _MOST:
            raise DataError(f"--shards '{text}' stands for more than {_MOST:,} shards")
    return done


def _parts(inside: str) -> Sequence[str]:
    bounds = _RANGE.fullmatch(inside)
    if bounds is None:
        return inside.split(",")
    first, last = int(bounds[1]), int(bounds[2])
    width = len(bounds[1]) if bounds[1].startswith("0") else 0
    return [f"{number:0{width}}" for number in range(first, min(last, first + _MOST) + 1)]


def _files(word: str) -> list[Path]:
    path = Path(word)
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix.lower() == TAR and file.is_file())
        if not found:
            raise DataError(f"--shards {path}: no file of this folder ends in {TAR}")
        return found
    found = [path] if path.is_file() else sorted(map(Path, glob.glob(word)))  # noqa: PTH207
    if not found:
        raise DataError(f"--shards: no shard {word}")
    for file in found:
        if file.suffix.lower() != TAR:
            raise DataError(f"--shards: {file} does not end in {TAR}; a packed one has to be unpacked first")
    return found
