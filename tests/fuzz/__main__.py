"""`make fuzz`: thousands of hostile inputs for every reader, each reader in processes of its own.

A crash, a panic, a traceback, more than 2 GB, more than 30 seconds of processor time and a word on the terminal are failures.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz import work, world
from tests.fuzz.readers import READERS
from tests.fuzz.work import LONGEST, Failure, input_of

_MOST_FAILURES = 200  # Of a reader; then it is given up.


def asked() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000, help="inputs for each reader")
    parser.add_argument(
        "--reader", action="append", choices=sorted(READERS), help="this one alone; may be given again"
    )
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--jobs", type=int, default=2, help="readers at a time")
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz-found"), help="where the inputs that fail are kept"
    )
    parser.add_argument("--work", nargs=7, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Runs all readers and prints a line for each; exit code 1 where something failed."""
    options = asked()
    if options.work:
        name, folder, seed, first, end, progress, found = options.work
        work.main(name, Path(folder), int(seed), int(first), int(end), Path(progress), Path(found))
        return
    with tempfile.TemporaryDirectory() as place:
        begun = time.perf_counter()
        made = world.make(Path(place) / "world")
        names = options.reader or list(READERS)
        with ThreadPoolExecutor(options.jobs) as pool:
            results = pool.map(lambda name: _one(name, made, options), names)
            wrong = sum(results)
    print(f"{len(names)} readers, {options.inputs:,} inputs each, seed {options.seed}: {wrong} failures, "
          f"{time.perf_counter() - begun:.0f} s")  # fmt: skip
    sys.exit(bool(wrong))


def _one(name: str, made: Path, options: argparse.Namespace) -> int:
    """Gives a reader all its inputs; returns how many failed."""
    folder = made.with_name(name)
    shutil.copytree(made, folder)
    begun = time.perf_counter()
    failed = list(_failures(name, folder, options))
    _keep(name, folder, failed, options)
    kinds = {failure.told.partition(": ")[0]: failure for failure in reversed(failed)}
    print(
        f"{name:18} {options.inputs:>7,} inputs {time.perf_counter() - begun:6.0f} s  {len(failed)} failures",
        flush=True,
    )
    for failure in kinds.values():
        print(f"    {failure.number}: {failure.kind}: {failure.told}", flush=True)
    shutil.rmtree(folder)
    return len(failed)


def _failures(name: str, folder: Path, options: argparse.Namespace) -> Iterator[Failure]:
    """The failures of all inputs; after an input that ended its process, another goes on with the next."""
    first, count = 0, 0
    progress, found = folder / "progress", folder / "found"
    while first < options.inputs and count < _MOST_FAILURES:
        found.write_text("")
        progress.write_text(f"{first:19d}")
        words = [name, folder, options.seed, first, options.inputs, progress, found]
        ended = _watched([sys.executable, "-m", "tests.fuzz", "--work", *map(str, words)], progress)
        told = [Failure(*json.loads(line)) for line in found.read_text().splitlines()]
        yield from told
        count += len(told)
        if ended is None:
            return
        last = int(progress.read_text())
        if not any(failure.number == last for failure in told):
            yield Failure(last, "ended", ended)
            count += 1
        first = last + 1


def _watched(command: list[str], progress: Path) -> str | None:
    """Runs a command until it ends or an input takes too long; returns how it ended, None where it ended well."""
    process = subprocess.Popen(command)
    last, since = "", 0.0
    while process.poll() is None:
        time.sleep(0.2)
        if (now := progress.read_text()) != last:
            last, since = now, _seconds_of(process)
        elif _seconds_of(process) - since > LONGEST:
            process.kill()
            process.wait()
            return f"took more than {LONGEST:.0f} s"
    return None if process.returncode == 0 else f"exit code {process.returncode}"


def _seconds_of(process: subprocess.Popen[bytes]) -> float:
    """The processor time of a process, so that a busy machine makes no failures; else the clock."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _keep(name: str, folder: Path, failed: list[Failure], options: argparse.Namespace) -> None:
    """Writes the inputs that failed, each once for its kind."""
    reader, kinds = READERS[name], set()
    seeds = reader.seeds(folder.with_name("world"))
    for failure in failed:
        kind = failure.told.partition(": ")[0]
        if failure.number >= 0 and kind not in kinds:
            kinds.add(kind)
            options.keep.mkdir(parents=True, exist_ok=True)
            data = input_of(reader, seeds, options.seed, failure.number, folder)
            (options.keep / f"{name}-{options.seed}-{failure.number}").write_bytes(data)


if __name__ == "__main__":
    main()
