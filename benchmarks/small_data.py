"""Trains on a few hundred real images, five folds, and pools what the folds' models say of their test images.

    python -m benchmarks.small_data --images isic2019 --weights resnet18.safetensors --work work/small
    python -m benchmarks.small_data --images isic2019 --work work/quick --quick

The images are drawn from those of ISIC 2019 (benchmarks/drawn.py), each class at its share but no fewer than
14, so that folds train on about 243 images with 8 or 9 of the rarest class. What is finished is not trained
again. `--pool` computes the table from the predictions that are there.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.drawn import IMAGES, draw, real_images, wanted_counts
from benchmarks.rows import Row, Task, answers_of, parser_of, report, run, train_all

TOTAL, SMALLEST, SEED, FOLDS = 356, 14, 16, 5

ROWS = (
    Row("ce", "auto"),
    Row("logit-adjustment", "auto", start="ce-auto"),
    Row("lmd", "auto"),
    Row("ce", "short"),
    Row("logit-adjustment", "short", start="ce-short"),
    Row("lmd", "short"),
)
QUICK_ROWS = (Row("ce", "smoke"), Row("logit-adjustment", "smoke", start="ce-smoke"))
PAIRS = (*zip(ROWS[:3], ROWS[3:], strict=True), (ROWS[1], ROWS[0]), (ROWS[2], ROWS[1]))
QUICK_PAIRS = (QUICK_ROWS[::-1],)


def main() -> None:
    """Draws, prepares, trains and pools."""
    parser = parser_of(__doc__)
    parser.add_argument("--quick", action="store_true", help="two folds, seconds")
    options = parser.parse_args()
    rows, pairs, folds = (QUICK_ROWS, QUICK_PAIRS, 2) if options.quick else (ROWS, PAIRS, FOLDS)
    if not options.pool:
        prepare(options.images, options.work, folds)
        train_all(tasks(options.work, rows, folds, options.seeds, options.weights), options)
    table_of(options.work, rows, pairs, folds, options.seeds, options.out)


def prepare(images: Path, work: Path, folds: int) -> None:
    """Draws the images and makes one dataset folder for each fold."""
    if (work / "data").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    every = real_images(images)
    drawn = draw(every, wanted_counts(every["label"], TOTAL, SMALLEST), SEED)
    drawn.to_csv(work / "drawn.csv", index=False)
    columns = ["--image-column", "file", "--label-column", "label", "--group-column", "lesion"]
    run("prepare", "table", "--table", str(work / "drawn.csv"), "--root", str(images / IMAGES), *columns,
        "--folds", str(folds), "--out", str(work / "data"))  # fmt: skip


def tasks(
    work: Path, rows: tuple[Row, ...], folds: int, seeds: list[int], weights: Path | None
) -> list[Task]:
    """Returns the trainings: those of a fold and seed that build on one another are one task."""
    return [
        Task(work / "data" / f"fold-{fold}", _folder(work, seed, fold), chain, seed, weights)
        for seed in seeds
        for chain in (rows[:2], rows[2:3], rows[3:5], rows[5:])
        if chain
        for fold in range(1, folds + 1)
    ]  # fmt: skip


def _folder(work: Path, seed: int, fold: int) -> Path:
    return work / "runs" / f"seed-{seed}" / f"fold-{fold}"


def table_of(
    work: Path, rows: tuple[Row, ...], pairs: tuple[tuple[Row, Row], ...], folds: int, seeds: list[int],
    out: Path | None,
) -> None:  # fmt: skip
    """Pools the folds of each seed and reports the mean over seeds."""
    lesions = work / "drawn.csv"
    found = {
        row.name: [
            answers_of([_folder(work, seed, fold) / row.name for fold in range(1, folds + 1)], lesions)
            for seed in seeds
        ]
        for row in rows
    }
    report(found, [(first.name, second.name) for first, second in pairs], out)


if __name__ == "__main__":
    main()
