"""The plan and the budget short, cut to the same time, on some thousand real images.

    python -m benchmarks.equal_time --images isic2019 --weights resnet18.safetensors --work work/equal
    python -m benchmarks.equal_time --images isic2019 --weights resnet18.safetensors --work work/equal --whole

Without `--whole`, images are drawn at their classes' shares, and all other lesions are the test. With it, all
images are divided by lesion, 70 : 10 : 20. All rows have 12 epochs at 64 pixels, and so see equally many
pixels: they differ in batch, in what becomes of a last batch, and in which epoch is kept.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.drawn import IMAGES, draw, real_images, wanted_counts
from benchmarks.rows import Row, Task, answers_of, parser_of, report, run, train_all

TOTAL, VALIDATION, SEED = 3000, 300, 17
CUT = ("stage1.epochs=12", "size=64")
ROWS = (
    Row("ce", "short", CUT),
    Row("logit-adjustment", "short", CUT, "ce-short"),
    Row("ce", "auto", CUT),
    Row("logit-adjustment", "auto", CUT, "ce-auto"),
    Row("lmd", "short", CUT),
    Row("lmd", "auto", CUT),
)
CHAINS = (ROWS[5:], ROWS[4:5], ROWS[:2], ROWS[2:4])
PAIRS = ((ROWS[2], ROWS[0]), (ROWS[3], ROWS[1]), (ROWS[5], ROWS[4]))


def main() -> None:
    """Draws, prepares, trains and compares."""
    parser = parser_of(__doc__)
    parser.add_argument("--total", type=int, default=TOTAL, help="images drawn")
    parser.add_argument("--whole", action="store_true", help="all images, divided by lesion")
    options = parser.parse_args()
    if not options.pool:
        prepare(options.images, options.work, None if options.whole else options.total)
        train_all(tasks(options.work, options.seeds, options.weights), options)
    table_of(options.work, options.seeds, options.out)


def prepare(images: Path, work: Path, total: int | None) -> None:
    """Makes the data set: of drawn images, or of all of them."""
    if (work / "data").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    every = real_images(images)
    divided = every if total is None else _drawn(every, total)
    divided.to_csv(work / "drawn.csv", index=False)
    columns = ["--image-column", "file", "--label-column", "label", "--group-column", "lesion"]
    run("prepare", "table", "--table", str(work / "drawn.csv"), "--root", str(images / IMAGES), *columns,
        "--out", str(work / "data"))  # fmt: skip


def _drawn(every: pd.DataFrame, total: int) -> pd.DataFrame:
    """Some images, a tenth of them for validation; the test has all other lesions."""
    drawn = draw(every, wanted_counts(every["label"], total, 12), SEED)
    val = draw(drawn, wanted_counts(drawn["label"], total // 10, 2), SEED)
    train = drawn[~drawn["lesion"].isin(val["lesion"])]
    test = every[~every["lesion"].isin(drawn["lesion"])]
    parts = {"train": train, "val": val, "test": test}
    return pd.concat([part.assign(split=name) for name, part in parts.items()])


def tasks(work: Path, seeds: list[int], weights: Path | None) -> list[Task]:
    """Returns the trainings, the longest first."""
    return [
        Task(work / "data", work / "runs" / f"seed-{seed}", chain, seed, weights)
        for chain in CHAINS
        for seed in seeds
    ]


def table_of(work: Path, seeds: list[int], out: Path | None) -> None:
    """Reports the mean over seeds."""
    found = {
        row.name: [
            answers_of([work / "runs" / f"seed-{seed}" / row.name], work / "drawn.csv") for seed in seeds
        ]
        for row in ROWS
    }
    report(found, [(first.name, second.name) for first, second in PAIRS], out)


if __name__ == "__main__":
    main()
