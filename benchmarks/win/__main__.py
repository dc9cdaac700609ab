"""Is `lmd-plus` above every baseline? Five folds by lesion, one rule for every row, resumable over days.

    python -m benchmarks.win prepare --work runs/win --shared ../shared
    python -m benchmarks.win train --work runs/win --jobs 2 --hours 2    # until all are done
    python -m benchmarks.win state --work runs/win
    python -m benchmarks.win answers --work runs/win --out benchmarks/results/win
    python -m benchmarks.win.tables --results benchmarks/results/win/isic

A row is a folds run: `lmd evaluate`, `lmd compare` and `lmd report` read it. All rows have the same images,
pixels, batches, steps and weights, and each decides by the tau that its validation images choose. The
trainings of a fold come before those of the next, and the first seed before the second. `--domain rbc` are
the red blood cells, `--domain isic-128` is for a GPU (`benchmarks/gpu.sh OUT 480 --parts folds`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.win import answers, data
from benchmarks.win.rows import DOMAINS
from benchmarks.win.trainings import train, train_all, wanted


def main() -> None:
    """Does one of the parts."""
    options = _parse()
    if options.part == "prepare":
        target = options.work / "data"
        data.from_shared(options.shared, target) if options.shared else data.from_packed(
            options.packed, target
        )
        return
    trainings = list(wanted(options.work, options.domain, options.seeds, options.folds, options.rows))
    if options.part == "train":
        train_all(trainings, options.jobs, 3600 * options.hours)
    elif options.part == "one":
        train(trainings[0])
        answers.save(trainings[0])
    elif options.part == "answers":
        answers.keep(options.work, options.domain, trainings, options.out)
    else:
        done = [training.finished for training in trainings]
        rows = [f"{one.row} {one.seed} {one.fold}: {'done' if one.finished else '-'}" for one in trainings]
        print("\n".join([*rows, f"{sum(done)} of {len(done)}"]))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", choices=["prepare", "train", "one", "state", "answers"])
    parser.add_argument("--work", type=Path, required=True, help="where data and runs are")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--shared", type=Path, help="prepare: the folder with data/ and weights/")
    source.add_argument("--packed", type=Path, help="prepare: what benchmarks.gpu_pack made")
    parser.add_argument("--domain", choices=list(DOMAINS), default="isic")
    parser.add_argument("--rows", nargs="+", help="these alone")
    parser.add_argument("--folds", nargs="+", help="these alone, such as fold-1")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    parser.add_argument("--hours", type=float, default=1e3, help="after which no training begins")
    parser.add_argument("--out", type=Path, help="answers: where the logits are kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
