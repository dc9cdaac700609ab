"""The trainings: which come first, what is left, and one of them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path

from benchmarks.win.data import WEIGHTS
from benchmarks.win.rows import DOMAINS, Row, row_of
from lmd.data.dataset.folds_folder import Folds, read_folds
from lmd.folds.folder import FoldsRun, FoldsRunInfo, write_folds_run
from lmd.folds.running import train_one
from lmd.planning.resolve import settings_for
from lmd.run import RunFolder
from lmd.settings import CommonSettings
from lmd.training.progress import Silent

_LAST = 20.0  # Seconds between the request to stop and the end.
_PAUSE = 2.0  # Seconds between two looks at whether the row is there that another starts from.


@dataclass(frozen=True)
class Training:
    """One training of a row on a fold, with one seed."""

    work: Path
    domain: str
    row: str
    fold: str
    seed: int

    @property
    def run(self) -> Path:
        """The folds run of its row."""
        return self.work / self.domain / f"{self.row}-{self.seed}"

    @property
    def out(self) -> RunFolder:
        """Its run folder."""
        return RunFolder(self.run / self.fold)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return (self.out.path / "MODEL_CARD.md").is_file()

    @property
    def start(self) -> Training | None:
        """The training whose first stage it takes over."""
        start = row_of(self.domain, self.row).start
        return None if start is None else replace(self, row=start)

    @property
    def words(self) -> list[str]:
        """The command that trains it."""
        chosen = {"work": self.work, "domain": self.domain, "rows": self.row}
        chosen |= {"folds": self.fold, "seeds": self.seed}
        words = [word for name, value in chosen.items() for word in (f"--{name}", str(value))]
        return [sys.executable, "-m", "benchmarks.win", "one", *words]


def wanted(
    work: Path, domain: str, seeds: Sequence[int], folds: Sequence[str] | None, rows: Sequence[str] | None
) -> Iterator[Training]:
    """Yields the trainings, the most informative first."""
    known = DOMAINS[domain]
    for seed in seeds:
        for fold in folds or [f"fold-{k + 1}" for k in range(known.folds)]:
            for row in rows or known.rows:
                yield Training(work, domain, row, fold, seed)


def train_all(trainings: Sequence[Training], jobs: int, seconds: float, grace: float = inf) -> None:
    """Trains what is missing, so many at a time; after so many seconds none begins.

    What has begun is stopped after `grace` seconds more; the same call goes on with it.
    """
    left = [training for training in dict.fromkeys(trainings) if not training.finished]
    times = Times(time.time() + seconds, grace, set(left))
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(times.train, left))


@dataclass
class Times:
    """When trainings begin and end, which are to come, and which of them failed."""

    end: float
    grace: float
    coming: set[Training]
    failed: set[Training] = field(default_factory=set)

    def train(self, training: Training) -> None:
        """Waits for the row that it starts from, and trains it in a process of its own."""
        begun = self.waited(training)
        if begun >= self.end or not (training.start is None or training.start.finished):
            return
        training.run.mkdir(parents=True, exist_ok=True)
        with (training.run / f"{training.fold}.log").open("a") as log:
            code = self.code_of(subprocess.Popen(training.words, stdout=log, stderr=log))
        if not training.finished:
            self.failed.add(training)
        told = "done" if training.finished else f"not finished ({code})"
        print(f"{training.out.path} {told} in {time.time() - begun:.0f} s", flush=True)

    def waited(self, training: Training) -> float:
        """Waits for the other row's first stage, as long as there is time; returns when that was over."""
        start = training.start
        while start is not None and not start.finished and start in self.coming - self.failed:
            if time.time() >= self.end:
                break
            time.sleep(_PAUSE)
        return time.time()

    def code_of(self, process: subprocess.Popen[bytes]) -> int:
        """Waits for a training, or stops it at the end of the grace; returns its exit code."""
        try:
            return process.wait(None if self.grace == inf else max(self.end + self.grace - time.time(), 1.0))
        except subprocess.TimeoutExpired:
            process.terminate()
        try:
            return process.wait(_LAST)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def train(training: Training) -> None:
    """Trains one row on one fold, as `lmd train FOLDS` would."""
    folds = read_folds(training.work / "data" / DOMAINS[training.domain].data)
    row, start = row_of(training.domain, training.row), training.start
    settings = settings_of(folds, row, training)
    info = FoldsRunInfo(
        title=folds.info.title,
        method=row.method,
        data=str(folds.folder.resolve()),
        manifests_sha256=folds.info.manifests_sha256,
        settings=settings.model_dump(mode="json"),
        start=None if start is None else str(start.run.resolve()),
    )
    training.run.mkdir(parents=True, exist_ok=True)
    write_folds_run(FoldsRun(training.run, info))
    dataset, first = folds.datasets[training.fold], None if start is None else start.out
    resume = training.out.settings.is_file()
    train_one(dataset, training.out.path, row.method, settings, first, resume, None, Silent())


def settings_of(folds: Folds, row: Row, training: Training) -> CommonSettings:
    """The settings of a row: those of the first fold for all."""
    weights = (training.work / "data" / WEIGHTS).resolve()
    sets = [*DOMAINS[training.domain].alike, f"weights={weights}", f"seed={training.seed}", *row.sets]
    return settings_for(row.method, folds.first, overrides=sets)
