"""Is `lmd-plus` above every baseline? Five folds by lesion, one rule for every row, resumable over days.

    python -m benchmarks.win prepare --shared ../shared --work runs/win
    python -m benchmarks.win train --work runs/win --jobs 2 --hours 2    # until all are done
    python -m benchmarks.win state --work runs/win
    python -m benchmarks.win_answers --work runs/win --domain isic --out benchmarks/results/win
    python -m benchmarks.win_tables --results benchmarks/results/win/isic

A row is a folds run: `lmd evaluate`, `lmd compare` and `lmd report` read it. All rows have the same images,
pixels, batches, steps and weights, and each decides by the tau that its validation images choose. The
trainings of a fold come before those of the next, and the first seed before the second.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.data import TABLE, unpack
from benchmarks.gpu.data import WEIGHTS as PACKED_WEIGHTS
from lmd.data.dataset.folds_folder import Folds, read_folds
from lmd.folds.folder import FoldsRun, FoldsRunInfo, write_folds_run
from lmd.folds.running import train_one
from lmd.planning.resolve import settings_for
from lmd.run import RunFolder
from lmd.settings import CommonSettings
from lmd.training.progress import Silent

WEIGHTS = "resnet18_imagenet_partial.safetensors"
# Of all rows alike: about 2,000 steps of 64 images.
ALIKE = (
    "size=64",
    "crop=center",
    "batch=64",
    "last_batch=even",
    "precision=bf16",
    "tau=validation",
    "partial_weights=true",
)


@dataclass(frozen=True)
class Row:
    """A method with settings of its own; `start` is the row whose first stage it takes over."""

    method: str
    sets: Sequence[str] = ()
    start: str | None = None


@dataclass(frozen=True)
class Domain:
    """A data set: its folds, the epochs of stage 1 that make the steps, and its rows in order."""

    folds: int
    epochs: int
    rows: dict[str, Row]


TEN = {
    "ce": Row("ce"),
    "la": Row("logit-adjustment", start="ce"),
    "decoupling": Row("decoupling", start="ce"),
    "lmd-plus": Row("lmd-plus"),
    "cc-sam": Row("cc-sam"),
    "lmd": Row("lmd"),
    "balanced-softmax": Row("balanced-softmax"),
    "cb-focal": Row("cb-focal"),
    "gcl": Row("gcl"),
    "rs": Row("rs"),
}
# What `lmd-plus` was put together from: each a setting less or more, judged on validation images alone.
STRONG = "stage1.ce_view=strong"
TRIALS = {
    "t-strong": Row("lmd-plus", [STRONG]),
    "t-mixup": Row("lmd-plus", [STRONG, "stage1.mixup=0.4"]),
    "t-sam": Row("lmd-plus", [STRONG, "stage1.sharpness.radius=0.05"]),
    "t-plain": Row("lmd-plus", [STRONG, "stage1.balance=0"]),
    "t-slow": Row("lmd-plus", [STRONG, "stage1.teacher_decay=0.999"]),
    "t-rate": Row("lmd-plus", [STRONG, "stage1.optimisation.lr=0.03"]),
}
DOMAINS = {
    "isic": Domain(5, 19, TEN),
    "rbc": Domain(3, 11, {name: TEN[name] for name in ("ce", "la", "lmd-plus", "cc-sam", "lmd")}),
}


def main() -> None:
    """Does one of the parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", choices=["prepare", "train", "one", "state"])
    parser.add_argument("--work", type=Path, required=True, help="where data and runs are")
    parser.add_argument("--shared", type=Path, help="prepare: the folder with data/ and weights/")
    parser.add_argument("--packed", type=Path, help="prepare: what benchmarks.gpu_pack made")
    parser.add_argument("--domain", choices=list(DOMAINS), nargs="+", default=["isic"])
    parser.add_argument("--rows", nargs="+", help="these alone")
    parser.add_argument("--folds", nargs="+", help="these alone, such as fold-1")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--hours", type=float, default=1e3, help="after which no training begins")
    options = parser.parse_args()
    {"prepare": prepare, "train": train, "one": one, "state": state}[options.part](options)


def prepare(options: argparse.Namespace) -> None:
    """Makes the folds of both data sets, or of the packed one, and puts the weights beside them."""
    target = options.work / "data"
    target.mkdir(parents=True, exist_ok=True)
    if options.packed is not None:
        images = target / "packed" / "images"
        unpack(options.packed, images)
        shutil.copy(options.packed / PACKED_WEIGHTS, target / WEIGHTS)
        as_table(images.parent / TABLE, images, "isic", target)
        return
    data = options.shared / "data"
    shutil.copy(options.shared / "weights" / WEIGHTS, target / WEIGHTS)
    lmd("prepare", "isic2019", "--root", data / "isic2019", "--allow-missing", "--split", "lesion",
        *divided("isic"), "--out", target / "isic")  # fmt: skip
    cells = data / "chula_rbc"
    as_table(cells / "labels.csv", cells, "rbc", target)


def as_table(table: Path, root: Path, domain: str, target: Path) -> None:
    """Makes the folds of a table of images."""
    columns = ("--image-column", "file", "--group-column", "group", "--ignore-column", "bytes")
    lmd("prepare", "table", "--table", table, "--root", root, *columns[: 6 if domain == "isic" else 4],
        *divided(domain), "--out", target / domain)  # fmt: skip


def divided(domain: str) -> tuple[object, ...]:
    """The options that divide a data set into its folds."""
    return ("--folds", DOMAINS[domain].folds, "--seed", 42)


def lmd(*words: object) -> None:
    """Runs the command."""
    subprocess.run([sys.executable, "-m", "lmd", *map(str, words)], check=True)


@dataclass(frozen=True)
class Training:
    """One training of a row on a fold, with one seed."""

    work: Path
    domain: str
    row: str
    fold: str
    seed: int

    @property
    def out(self) -> RunFolder:
        """Its run folder."""
        return RunFolder(run_of(self.work, self.domain, self.row, self.seed) / self.fold)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return (self.out.path / "MODEL_CARD.md").is_file()

    @property
    def words(self) -> list[str]:
        """The command that trains it."""
        chosen = {"work": self.work, "domain": self.domain, "rows": self.row}
        chosen |= {"folds": self.fold, "seeds": self.seed}
        words = [word for name, value in chosen.items() for word in (f"--{name}", str(value))]
        return [sys.executable, "-m", "benchmarks.win", "one", *words]


def row_of(training: Training) -> Row:
    """The row of a training, among them those of the trials."""
    return {**DOMAINS[training.domain].rows, **TRIALS}[training.row]


def run_of(work: Path, domain: str, row: str, seed: int) -> Path:
    """Where the folds run of a row is."""
    return work / domain / f"{row}-{seed}"


def wanted(options: argparse.Namespace) -> Iterator[Training]:
    """Yields the trainings, the most informative first."""
    for domain in options.domain:
        rows, number = DOMAINS[domain].rows, DOMAINS[domain].folds
        for seed in options.seeds:
            for fold in options.folds or [f"fold-{k + 1}" for k in range(number)]:
                for row in options.rows or rows:
                    yield Training(options.work, domain, row, fold, seed)


def train(options: argparse.Namespace) -> None:
    """Trains what is missing, so many at a time with one thread each."""
    end, left = time.time() + 3600 * options.hours, [one for one in wanted(options) if not one.finished]
    done: set[Training] = {one for one in wanted(options) if one.finished}

    def work(training: Training) -> None:
        start = row_of(training).start
        while (
            start
            and not Training(training.work, training.domain, start, training.fold, training.seed).finished
        ):
            if time.time() > end:
                return
            time.sleep(5)
        if time.time() > end:
            return
        begun = time.time()
        training.out.path.parent.mkdir(parents=True, exist_ok=True)
        with (training.out.path.parent / f"{training.fold}.log").open("a") as log:
            code = subprocess.run(training.words, stdout=log, stderr=log).returncode
        done.add(training)
        told = "done" if training.finished else f"failed ({code})"
        print(f"{training.out.path} {told} in {time.time() - begun:.0f} s", flush=True)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(work, left))


def one(options: argparse.Namespace) -> None:
    """Trains one row on one fold, as `lmd train FOLDS` would."""
    (training,) = wanted(options)
    folds = read_folds(options.work / "data" / training.domain)
    row = row_of(training)
    settings = settings_of(folds, row, options.work, training)
    run = run_of(options.work, training.domain, training.row, training.seed)
    start = None if row.start is None else run_of(options.work, training.domain, row.start, training.seed)
    info = FoldsRunInfo(
        title=folds.info.title,
        method=row.method,
        data=str(folds.folder.resolve()),
        manifests_sha256=folds.info.manifests_sha256,
        settings=settings.model_dump(mode="json"),
        start=None if start is None else str(start.resolve()),
    )
    run.mkdir(parents=True, exist_ok=True)
    write_folds_run(FoldsRun(run, info))
    first = None if start is None else RunFolder(start / training.fold)
    resume = training.out.settings.is_file()
    train_one(
        folds.datasets[training.fold], training.out.path, row.method, settings, first, resume, None, Silent()
    )


def settings_of(folds: Folds, row: Row, work: Path, training: Training) -> CommonSettings:
    """The settings of a row: those of the first fold for all."""
    own = [f"weights={(work / 'data' / WEIGHTS).resolve()}", f"seed={training.seed}"]
    sets = [*ALIKE, *own, f"stage1.epochs={DOMAINS[training.domain].epochs}"]
    return settings_for(row.method, folds.first, overrides=[*sets, *row.sets])


def state(options: argparse.Namespace) -> None:
    """Prints what is finished."""
    for domain in options.domain:
        for seed in options.seeds:
            for row in DOMAINS[domain].rows:
                folds = [f"fold-{k + 1}" for k in range(DOMAINS[domain].folds)]
                there = [Training(options.work, domain, row, fold, seed).finished for fold in folds]
                print(f"{domain} {row} {seed}: {sum(there)} of {len(there)}")


if __name__ == "__main__":
    main()
