"""Flips bits in run folders, kills trainings, and says what was noticed and what went on undisturbed.

    OMP_NUM_THREADS=1 python -m benchmarks.reliability --flips 200 --kills 60 --moments 30 --seed 16

Each process is forked from this one, which has imported everything: a trial takes a second. A kill is
SIGKILL, before the n-th change of a file below the data set or the run folder (opened for writing, renamed,
removed, made, synchronised), or after some processor time. Then the same command runs again, with `--resume`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from lmd.files import is_temporary

METHODS = ("ce", "lmd")
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "shutil.rmtree")
_JIFFIES = os.sysconf("SC_CLK_TCK")


class Place:
    """A data set of its own, and where a run on it goes."""

    def __init__(self, folder: Path, data: Path, method: str, settings: dict[str, Any]) -> None:
        """Copies the data set without its cache of pixels."""
        self.folder, self.data, self.run = folder, folder / "data", folder / "run"
        shutil.copytree(data, self.data, ignore=shutil.ignore_patterns("cache"))
        self.words = ["train", str(self.data), "--method", method, "--budget", "paper"]
        (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
        self.words += ["--recipe", str(folder / "recipe.yaml"), "--out", str(self.run)]

    def tree(self) -> list[str]:
        """Returns all that lies in the place."""
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*"))


def main() -> None:
    """Measures what is asked for and prints a line for each."""
    parser = argparse.ArgumentParser(description="bit flips and kills of run folders")
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--moments", type=int, default=30)
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--every", default="0", help="seconds between two writings of the state")
    options = parser.parse_args()
    os.environ["LMD_CHECKPOINT_SECONDS"] = options.every
    with tempfile.TemporaryDirectory() as folder:
        for name, done, all_of in measured(Path(folder), options):
            print(f"{name}: {done} of {all_of}", flush=True)


def measured(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, int, int]]:
    """Yields what was tried, how often it went as it should, and how often it was tried."""
    data = toy_data(folder)
    import_all(folder / "imports", data)
    rng = random.Random(options.seed)
    for number, method in enumerate(METHODS):
        share = range(number, options.flips, len(METHODS))
        if share:
            yield (
                f"bit flips noticed, {method}",
                flips(folder / f"flip-{method}", data, method, len(share), rng),
                len(share),
            )
        for what, count in (("file operation", options.kills), ("moment", options.moments)):
            share = range(number, count, len(METHODS))
            if share:
                same = kills(folder / f"{what.split()[0]}-{method}", data, method, what, len(share), rng)
                yield f"killed at a random {what} and resumed bit for bit, {method}", same, len(share)
    yield "second training in one folder refused", two_at_once(folder / "two", data), 1


def toy_data(folder: Path) -> Path:
    """Makes a data set of 57 training, 15 validation and 15 test images in 3 classes."""
    from tests import toy

    return toy.make_dataset(folder / "toy").folder


def settings_of(method: str, **changes: Any) -> dict[str, Any]:
    """Returns settings with which a method trains in a second, in one stage or two, with selection."""
    from lmd.settings import merge
    from tests import toy

    return merge(toy.recipe(method), {"stage1": {"epochs": 2}, **changes})


def forked(work: Callable[[], int], log: Path) -> int:
    """Starts a process that calls `work`, with its output in a file; returns its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        with log.open("a") as file, contextlib.redirect_stderr(file), contextlib.redirect_stdout(file):
            code = work()
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """Waits for a process and returns its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def command(words: list[str]) -> int:
    """Runs the command `lmd` in this process and returns its exit code."""
    from lmd import cli

    sys.argv = ["lmd", *words]
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


class Changes:
    """Counts the changes of files below a folder, and kills its process before the one that is chosen."""

    def __init__(self, folder: Path, fatal: int | None = None) -> None:
        """Watches this process from now on."""
        self.folder, self.fatal, self.count = str(folder), fatal, 0
        sys.addaudithook(self.heard)
        synchronise = os.fsync

        def fsync(descriptor: int) -> None:
            self.changed()
            synchronise(descriptor)

        os.fsync = fsync

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Takes an event of Python's audit."""
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (writes or event in _CHANGES) and str(arguments[0]).startswith(self.folder):
            self.changed()

    def changed(self) -> None:
        """Counts, and kills."""
        if self.count == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1


def train(place: Place, fatal: int | None = None, resume: bool = False) -> tuple[int, int]:
    """Trains in a process of its own; returns its exit code, and how many changes of files it made."""
    counted = place.folder.with_suffix(".count")

    def work() -> int:
        changes = Changes(place.folder, fatal)
        code = command([*place.words, *(["--resume"] if resume else [])])
        counted.write_text(str(changes.count))
        return code

    code = ended(forked(work, place.folder.with_suffix(".log")))
    return code, int(counted.read_text()) if code == 0 else 0


def train_for(place: Place, seconds: float) -> tuple[int, float]:
    """Trains, and kills it after some seconds of processor time; returns its exit code and its seconds."""
    pid, used = forked(lambda: command(place.words), place.folder.with_suffix(".log")), 0.0
    while used < seconds and not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        time.sleep(0.002)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used = (int(fields[11]) + int(fields[12])) / _JIFFIES
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return ended(pid), used


def kills(folder: Path, data: Path, method: str, what: str, number: int, rng: random.Random) -> int:
    """Returns how many of some killed trainings ended like the one that nothing stopped."""
    settings = settings_of(method)
    folder.mkdir()

    def place(name: str) -> Place:
        (folder / name).mkdir()
        return Place(folder / name, data, method, settings)

    whole, timed = place("whole"), place("timed")
    code, changes = train(whole)
    seconds = train_for(timed, 1e9)[1]
    assert code == 0, whole.folder.with_suffix(".log").read_text()
    right = 0
    for trial in range(number):
        here = place(f"trial-{trial}")
        if what == "moment":
            killed, _ = train_for(here, rng.uniform(0, seconds))
        else:
            killed, _ = train(here, fatal=rng.randrange(changes))
        right += killed in (0, -signal.SIGKILL) and not difference(whole, here)
        shutil.rmtree(here.folder)
    return right


def difference(whole: Place, place: Place) -> str:
    """Goes on with a killed training and returns in what it differs from the whole one, or nothing."""
    code, _ = train(place, resume=True)
    if code != 0:
        found = place.folder.with_suffix(".log").read_text()
    elif left := [name for name in place.tree() if is_temporary(Path(name))]:
        found = f"leftovers: {left}"
    elif whole.tree() != place.tree():
        found = f"files: {sorted(set(whole.tree()) ^ set(place.tree()))}"
    else:
        found = ", ".join(
            name for name in ("model", "metrics.jsonl") if result(whole, name) != result(place, name)
        )
    if found:
        print(f"{place.folder.name}: {found}", file=sys.stderr)
    return found


def result(place: Place, name: str) -> Any:
    """Returns what has to be equal, bit for bit: without seconds, and the checksum that covers them."""
    path = place.run / name
    if name == "metrics.jsonl":
        return [{**json.loads(line), "seconds": 0} for line in path.read_text().splitlines()]
    files: dict[str, Any] = {file.name: file.read_bytes() for file in path.iterdir()}
    return files | {"model.json": json.loads(files["model.json"]) | {"training_seconds": 0, "sha256": ""}}


def flips(folder: Path, data: Path, method: str, number: int, rng: random.Random) -> int:
    """Returns how many flips of a single bit, in the checkpoint or a file of the model, were noticed."""
    folder.mkdir()
    place = Place(folder, data, method, settings_of(method))
    code, changes = train(place, fatal=1 << 30)
    assert code == 0, folder.with_suffix(".log").read_text()
    keep_checkpoint(folder, data, method, changes)
    files = sorted(path for path in folder.glob("*/*/*") if path.parent.name in ("model", "checkpoint"))
    files = [path for path in files if path.is_file() and "kept" not in path.parts[-2]]
    return sum(
        noticed(path, rng.randrange(8 * path.stat().st_size))
        for path in (rng.choice(files) for _ in range(number))
    )


def keep_checkpoint(folder: Path, data: Path, method: str, changes: int) -> None:
    """Leaves a checkpoint in `stopped/checkpoint`, of a run that was killed in its last third."""
    (folder / "other").mkdir()
    other = Place(folder / "other", data, method, settings_of(method))
    for fatal in range(2 * changes // 3, 0, -1):
        train(other, fatal=fatal)
        if (other.run / "checkpoint" / "state.safetensors").is_file():
            shutil.copytree(other.run / "checkpoint", folder / "stopped" / "checkpoint")
            break
        shutil.rmtree(other.run, ignore_errors=True)
    shutil.rmtree(other.folder)


def noticed(path: Path, bit: int) -> bool:
    """Returns whether a file with one bit flipped is refused in one line; the file is put back."""
    from lmd.errors import CheckpointError
    from lmd.evaluation.predict import load_model
    from lmd.run import RunFolder, load_checkpoint

    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    path.write_bytes(flipped)
    run = RunFolder(path.parents[1])
    try:
        load_checkpoint(run) if path.parent.name == "checkpoint" else load_model(run)
    except CheckpointError as error:
        return "\n" not in str(error)
    finally:
        path.write_bytes(whole)
    print(f"not noticed: bit {bit} of {path.name}", file=sys.stderr)
    return False


def two_at_once(folder: Path, data: Path) -> int:
    """Returns 1 where the second of two trainings in one folder is refused and the first goes on."""
    folder.mkdir()
    place = Place(folder, data, "ce", settings_of("ce", stage1={"epochs": 100000}))
    first = forked(lambda: command(place.words), folder / "first.log")
    while not (place.run / "metrics.jsonl").is_file():
        time.sleep(0.05)
    second = forked(lambda: command([*place.words, "--resume"]), folder / "second.log")
    code, told = ended(second), (folder / "second.log").read_text()
    alive = not os.waitid(os.P_PID, first, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    os.kill(first, signal.SIGKILL)
    ended(first)
    return int(code == 2 and alive and f"is being written by process {first} on" in told)


def import_all(folder: Path, data: Path) -> None:
    """Imports what a training imports, so that no forked process has to: one of them says what that is."""
    folder.mkdir()
    place = Place(folder, data, "lmd", settings_of("lmd"))

    def work() -> int:
        code = command(place.words)
        (folder / "modules").write_text("\n".join(sys.modules))
        return code

    ended(forked(work, folder.with_suffix(".log")))
    for name in (folder / "modules").read_text().splitlines():
        with contextlib.suppress(Exception):
            importlib.import_module(name)


if __name__ == "__main__":
    main()
