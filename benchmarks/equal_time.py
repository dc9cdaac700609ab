"""The plan and the budget short, cut to the same time, on some thousand real images.

    python -m benchmarks.equal_time --images isic2019 --weights resnet18.safetensors --work work/equal

Images are drawn at their classes' shares; all other lesions are the test. Both rows have 12 epochs at 64
pixels, and so see equally many pixels: they differ in batch, in what becomes of a last batch, and in which
epoch is kept. Cross entropy, and logit adjustment from it.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.drawn import IMAGES, draw, real_images, wanted_counts
from benchmarks.small_data import Row, differences, parser_of, pooled, report, run, train_on

TOTAL, VALIDATION, SEED = 3000, 300, 17
CUT = ("--set", "stage1.epochs=12")
ROWS = (
    Row("ce", "short"),
    Row("ce", "auto"),
    Row("logit-adjustment", "short", "ce-short"),
    Row("logit-adjustment", "auto", "ce-auto"),
)
PAIRS = ((ROWS[1], ROWS[0]), (ROWS[3], ROWS[2]))


def main() -> None:
    """Draws, prepares, trains and compares."""
    parser = parser_of(__doc__)
    parser.add_argument("--total", type=int, default=TOTAL, help="images drawn")
    options = parser.parse_args()
    prepare(options.images, options.work, options.total)
    for row in ROWS:
        train_on(options.work / "data", options.work, row, 0, options.weights, *CUT)
    rows = [pooled(options.work, row, 1) for row in ROWS]
    report(rows, differences(options.work, PAIRS, 1), options.out)


def prepare(images: Path, work: Path, total: int) -> None:
    """Draws the images, a tenth of them for validation, and gives the test all other lesions."""
    if (work / "data").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    every = real_images(images)
    drawn = draw(every, wanted_counts(every["label"], total, 12), SEED)
    val = draw(drawn, wanted_counts(drawn["label"], total // 10, 2), SEED)
    train = drawn[~drawn["lesion"].isin(val["lesion"])]
    test = every[~every["lesion"].isin(drawn["lesion"])]
    parts = {"train": train, "val": val, "test": test}
    divided = pd.concat([part.assign(split=name) for name, part in parts.items()])
    divided.to_csv(work / "drawn.csv", index=False)
    columns = ["--image-column", "file", "--label-column", "label", "--group-column", "lesion"]
    run("prepare", "table", "--table", str(work / "drawn.csv"), "--root", str(images / IMAGES), *columns,
        "--out", str(work / "data"))  # fmt: skip


if __name__ == "__main__":
    main()
