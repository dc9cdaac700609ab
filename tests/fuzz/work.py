"""Gives inputs to a reader, one after another, and tells of each that comes out in another way than it may."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lmd.errors import LmdError
from tests.fuzz.changes import hostile
from tests.fuzz.readers import READERS, Reader

MOST_MEMORY = 2 * 2**30
LONGEST = 30.0  # Seconds for an input.


class Failure(NamedTuple):
    """An input that came out in a way that it may not: by its number, with the place in the program."""

    number: int
    kind: str
    told: str


def input_of(reader: Reader, seeds: list[bytes], seed: int, number: int, folder: Path) -> bytes:
    """Returns the input of a number: the same whenever it is asked for."""
    random_ = random.Random(f"{seed}/{reader.name}/{number}")
    data = hostile(random_, seeds, reader.changes)
    # Half of them are made whole: what is behind a checksum must stand as well.
    return reader.mend(folder, data) if random_.random() < 0.5 else data


def fault_of(reader: Reader, folder: Path, number: int) -> str | None:
    """Reads the input in its place; returns what came out that may not, or None."""
    try:
        reader.read(folder, number)
    except LmdError as error:
        return None if len(str(error)) < 2000 else f"a message of {len(str(error)):,} characters"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # A panic of Rust is no Exception.
        return f"{type(error).__name__} at {_place(error)}: {str(error)[:200]}"
    return None


def _place(error: BaseException) -> str:
    """The last line of the package, or of the harness, that took part."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        frame for frame in frames if "/lmd/" in frame.filename and "site-packages" not in frame.filename
    ] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"


def failures(
    name: str, folder: Path, seed: int, first: int, end: int, progress: Path, alone: bool = False
) -> Iterator[Failure]:
    """Yields the failures among the inputs `first` to `end`; the number of the present one stands in `progress`.

    In a process that is not `alone`, what it has taken before counts for nothing.
    """
    reader = READERS[name]
    seeds = reader.seeds(folder)
    place = _place_of(reader, folder)
    sound = fault_of(_written(reader, place, seeds[0]), folder, 0)
    if sound is not None:
        yield Failure(-1, "the sound input fails", sound)
    descriptor = os.open(progress, os.O_WRONLY | os.O_CREAT)
    allowed = MOST_MEMORY if alone else most_memory() + MOST_MEMORY
    for number in range(first, end):
        os.pwrite(descriptor, b"%19d" % number, 0)
        place.write_bytes(input_of(reader, seeds, seed, number, folder))
        fault = fault_of(reader, folder, number)
        if fault is not None:
            yield Failure(number, "wrong kind of error", fault)
        if (memory := most_memory()) > allowed:
            yield Failure(number, "memory", f"{memory / 2**30:.2f} GB")
            return


def most_memory() -> int:
    """The most bytes this process has had. `ru_maxrss` would begin with those of the process that started it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found[1]) if found else 0


def _written(reader: Reader, place: Path, data: bytes) -> Reader:
    place.write_bytes(data)
    return reader


def _place_of(reader: Reader, folder: Path) -> Path:
    return next(folder.glob(reader.file), folder / reader.file)


def main(name: str, folder: Path, seed: int, first: int, end: int, progress: Path, found: Path) -> None:
    """Works in a process of its own; what the readers print, and should not, is told with its first input."""
    logging.getLogger().addHandler(logging.NullHandler())
    warnings.simplefilter("ignore")
    printed = os.open(folder / "printed", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    with found.open("a") as file:
        for failure in failures(name, folder, seed, first, end, progress, alone=True):
            file.write(json.dumps(failure) + "\n")
            file.flush()
            if failure.kind == "memory":
                os._exit(3)  # Another process goes on.
    sys.stdout.flush()
    sys.stderr.flush()
    text = (folder / "printed").read_text(errors="replace")
    if text:
        with found.open("a") as file:
            file.write(json.dumps(Failure(-2, "printed", text[:500])) + "\n")
