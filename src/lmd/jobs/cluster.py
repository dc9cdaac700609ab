"""Tasks as jobs of a cluster, through submitit: each a job of its own, which goes on after it was requeued.

submitit keeps what it runs as pickles in a folder of its own. Of ours these hold texts alone: the words of
a command, and the paths of its log and of the file for its exit code. How a job ended is read from that file,
never from a pickle.
"""

from __future__ import annotations

import importlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmd.ending import has_signals, save_and_end, tell
from lmd.errors import SettingsError, suggest
from lmd.extras import how_to_install
from lmd.files import atomic_write
from lmd.jobs.tasks import Done, Task
from lmd.jobs.workers import Child, error_of

EXECUTORS = ("slurm", "local")
_LOCAL = ("timeout_min", "gpus_per_node", "signal_delay_s", "setup")  # What submitit's local executor takes.
_SAFE_PATH = "PYTHONSAFEPATH"  # As Python's option -P.
_FOLDER = "submitit"  # In the folder of the logs: what submitit keeps.
_SOON = 60.0  # Seconds that a command has to save what it needs before its job is requeued.
_SHORTLY = 5.0  # Seconds that submitit has to end in after a command.
_LOOK_EVERY = 0.1
_REQUEUED = 1000  # Times that a job may come to the end of its time and begin again.
_LONG = 7 * 24 * 60  # Minutes of a job of the local executor, where no timeout_min is given.


def check_executor(executor: str | None, options: Sequence[str], jobs: int | str) -> None:
    """Refuses an executor that there is not, and options without one.

    Raises:
        SettingsError: one line on what is wrong.
    """
    if executor is None:
        if options:
            raise SettingsError(f"--slurm {options[0]}: it is for --executor slurm")
        return
    if executor not in EXECUTORS:
        raise SettingsError(f"--executor {executor}{suggest(executor, EXECUTORS)}")
    if not isinstance(jobs, int):
        raise SettingsError(f"--jobs {jobs}: with --executor {executor} say how many jobs run at a time")
    _parsed(options)


def _parsed(options: Sequence[str]) -> dict[str, int | str]:
    """The options as submitit takes them."""
    found: dict[str, int | str] = {}
    for text in options:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise SettingsError(f"--slurm {text}: must be KEY=VALUE, such as partition=gpu")
        found[name.replace("-", "_")] = int(value) if value.isdecimal() else value
    return found


class Command:
    """A command of `lmd` as a job runs it; submitit pickles its three texts."""

    def __init__(self, words: list[str], log: str, result: str) -> None:
        """Starts nothing yet."""
        self.words, self.log, self.result = words, log, result
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Runs the command and returns its exit code, which it writes into a file as well."""
        begun = time.monotonic()
        with Path(self.log).open("ab") as log:
            self.process = subprocess.Popen(
                self.words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            while self.process.poll() is None:
                time.sleep(_LOOK_EVERY)
        except KeyboardInterrupt:  # The job is cancelled; submitit is about to end this process.
            tell(self.process, signal.SIGTERM)
            raise
        code, seconds = self.process.returncode, round(time.monotonic() - begun, 3)
        atomic_write(Path(self.result), json.dumps({"code": code, "seconds": seconds}))
        return code

    def checkpoint(self) -> Any:
        """Lets the command save what it has, and returns what is to begin again: the same command.

        submitit calls this when the job's time is nearly over, or the machine is wanted back.
        """
        if self.process is not None:
            with suppress(ProcessLookupError, ChildProcessError):
                save_and_end(self.process.pid, _SOON)
        return _submitit().helpers.DelayedSubmission(Command(self.words, self.log, self.result))


@dataclass
class _Job:
    """A task that was submitted."""

    task: Task
    job: Any
    result: Path
    offset: int
    began: float = field(default_factory=time.monotonic)

    def ended(self) -> Done | None:
        """Returns how the task ended, by the file of its exit code, or by the cluster where there is none."""
        over = self.job.done()  # Before the file is looked for: it is written before the job ends.
        if self.result.is_file():
            told = json.loads(self.result.read_text(encoding="utf-8"))
            code, seconds = int(told["code"]), float(told["seconds"])
            return Done(self.task, code, seconds, error_of(self.task, code, self.offset) if code else None)
        if not over:
            return None
        state = f"its job {self.job.job_id} ended as {self.job.state}; see {self.job.paths.stderr}"
        return Done(self.task, 1, time.monotonic() - self.began, state)

    def signal(self, number: int) -> None:
        """Cancels the job: the cluster lets it save what it needs."""
        self.job.cancel()

    def kill(self) -> None:
        """Cancels the job."""
        with suppress(Exception):
            self.job.cancel(check=False)


class Cluster:
    """The jobs of an executor of submitit."""

    def __init__(self, executor: str, options: Sequence[str], logs: Path) -> None:
        """Looks for the executor.

        Raises:
            SettingsError: submitit is not installed, there is no such cluster here, or it has no such option.
        """
        self.logs = logs
        self.jobs: list[Any] = []
        given: dict[str, Any] = _parsed(options)
        self.executor = _executor(executor, logs / _FOLDER)
        if executor == "local":
            given = {"timeout_min": _LONG, **given}
        try:
            _refuse_unknown(executor, given)
            self.executor.update_parameters(**given)
        except (ValueError, NameError, TypeError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise SettingsError(f"--slurm: submitit's executor '{executor}' says: {first}") from error

    def begin(self, task: Task) -> Child:
        """Submits a task."""
        task.log.parent.mkdir(parents=True, exist_ok=True)
        task.log.touch()
        result = self.logs / _FOLDER / f"{task.log.stem}.json"
        result.unlink(missing_ok=True)
        words = [sys.executable, "-P", "-m", "lmd", *task.words()]
        offset = task.log.stat().st_size
        command = Command(words, str(task.log.resolve()), str(result.resolve()))
        with _safe_path():
            job = self.executor.submit(command)
        self.jobs.append(job)
        return _Job(task, job, result, offset)

    def clear(self) -> None:
        """Lets submitit's own processes end, which write a job's result after the command has ended."""
        until = time.monotonic() + _SHORTLY
        while time.monotonic() < until and not all(job.done() for job in self.jobs):
            time.sleep(_LOOK_EVERY)
        self.jobs.clear()


@contextmanager
def _safe_path() -> Iterator[None]:
    """Keeps the present folder out of the path of modules of submitit's programs: it may hold a random.py."""
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        os.environ.pop(_SAFE_PATH)
        if before is not None:
            os.environ[_SAFE_PATH] = before


def _refuse_unknown(executor: str, given: dict[str, Any]) -> None:
    """The local executor would leave out what it does not know."""
    unknown = [name for name in given if executor == "local" and name not in _LOCAL]
    if unknown:
        raise ValueError(f"no option '{unknown[0]}'{suggest(unknown[0], _LOCAL)}")


def _submitit() -> Any:
    if not has_signals():
        raise SettingsError("--executor: jobs of a cluster need signals, which Windows has not; use --jobs")
    try:
        return importlib.import_module("submitit")
    except ImportError:
        raise SettingsError(
            f"--executor needs submitit, which is not installed: {how_to_install('slurm')}"
        ) from None


def _executor(name: str, folder: Path) -> Any:
    submitit = _submitit()
    kind = submitit.SlurmExecutor if name == "slurm" else submitit.LocalExecutor
    try:
        return kind(folder=folder, max_num_timeout=_REQUEUED, python=f"{shlex.quote(sys.executable)} -P")
    except RuntimeError as error:
        raise SettingsError(f"--executor {name}: {error}") from error
