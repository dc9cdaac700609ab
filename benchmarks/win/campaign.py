"""The comparison on a GPU machine in two calls, the most informative trainings first.

    python -m benchmarks.win.campaign trials --work WORK --out OUT --jobs 8 --seconds 200
    python -m benchmarks.win.campaign table --work WORK --out OUT --jobs 8 --seconds 400

`trials` trains each row's trials on the first folds, writes their logits and lets the validation images
choose (`benchmarks.win.choice`). `table` trains what was chosen: all folds, the red cells, `lmd-plus` with
one part left out, schedules of other lengths, a second seed. After so many seconds no training begins, and
what runs has `--grace` seconds more.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.win import answers
from benchmarks.win.choice import read_chosen, trials, write_chosen
from benchmarks.win.rows import DOMAINS
from benchmarks.win.tables import CHOSEN
from benchmarks.win.trainings import Training, train_all, wanted

SEEDS = (42, 43)
# `lmd-plus` with mixup, and that with one part left out; `lmd-plus` itself is without mixup.
ABLATIONS = [f"lmd-plus+mixup{part}" for part in ("", "-relation", "-sam", "-balance", "-teacher", "-strong")]
LENGTHS = (5, 10, 20, 60)
# Of the second seed, in this order.
AGAIN = ("lmd-plus", "cc-sam", "gcl", "lmd", "cb-focal", "ce", "balanced-softmax")


def main() -> None:
    """Trains, keeps the logits, and chooses or prints how much there was time for."""
    options = _parse()
    chosen = options.out / options.domain / CHOSEN
    order = list(trial_order(options) if options.part == "trials" else table_order(options, chosen))
    train_all(order, options.jobs, options.seconds, options.grace)
    for domain in dict.fromkeys(training.domain for training in order):
        of_domain = [training for training in order if training.domain == domain]
        answers.keep(options.work, domain, of_domain, options.out)
        if options.part == "table":
            write_chosen(chosen, domain, options.out / domain)
    unique = set(order)
    print(f"{sum(training.finished for training in unique)} of {len(unique)} trainings", flush=True)
    if options.part == "trials":
        words = ["benchmarks.win.choice", "--results", str(chosen.parent), "--domain", options.domain]
        subprocess.run([sys.executable, "-m", *words], check=True)


def trial_order(options: argparse.Namespace) -> Iterator[Training]:
    """The first fold of all rows, then the second, that of `lmd-plus` first."""
    rows = [row for row in DOMAINS[options.domain].rows if row != "lmd-plus"]
    for fold in ("fold-1", "fold-2"):
        tried = [*trials(options.domain, ["lmd-plus"]), *trials(options.domain, rows)]
        names = [f"{name}{options.suffix}" for name in tried]
        yield from wanted(options.work, options.domain, SEEDS[:1], [fold], names)


def table_order(options: argparse.Namespace, chosen: Path) -> Iterator[Training]:
    """The table, the second domain, the ablations, the schedules, the second seed."""
    picked = json.loads(chosen.read_text(encoding="utf-8"))

    def some(domain: str, seed: int, folds: list[str] | None, rows: list[str]) -> Iterator[Training]:
        yield from wanted(options.work, domain, [seed], folds, [f"{row}{options.suffix}" for row in rows])

    first, second = SEEDS
    yield from some(options.domain, first, None, read_chosen(chosen, options.domain))
    if options.domain == "isic":
        yield from some("rbc", first, None, read_chosen(chosen, "rbc"))
    yield from some(options.domain, first, ["fold-1", "fold-2", "fold-3"], ABLATIONS)
    lengths = [f"{picked[row]}@{length}" for length in LENGTHS for row in ("ce", "lmd", "lmd-plus")]
    yield from some(options.domain, first, ["fold-1"], [] if options.suffix else lengths)
    yield from some(options.domain, second, None, [picked[row] for row in AGAIN])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", choices=["trials", "table"])
    parser.add_argument("--work", type=Path, required=True, help="where data and runs are")
    parser.add_argument("--out", type=Path, required=True, help="where the logits are kept")
    parser.add_argument("--domain", choices=["isic", "isic-32", "isic-128"], default="isic")
    parser.add_argument("--jobs", type=int, default=5, help="trainings at a time")
    parser.add_argument("--seconds", type=float, required=True, help="after which no training begins")
    parser.add_argument("--grace", type=float, default=60.0, help="seconds after that, for those that run")
    parser.add_argument("--suffix", default="", help="of each row, such as @1: a quick try of one epoch")
    return parser.parse_args()


if __name__ == "__main__":
    main()
