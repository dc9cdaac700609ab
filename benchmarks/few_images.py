"""What a plan for a few hundred images should be: candidates on development draws, judged on other lesions.

    python -m benchmarks.few_images --images isic2019 --weights resnet18.safetensors --work work/few

Two draws (seeds 101 and 102) of 240 training images, 8 of each rare class. The judge has 90 images of each
class, of other lesions. Nothing here is of the draw that benchmarks/small_data.py measures at the end, but
lesions may be in both: choose by large differences alone.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.drawn import IMAGES, draw, real_images, wanted_counts
from benchmarks.rows import Row, Task, answers_of, parser_of, report, run, train_all

DRAWS, TRAIN, SMALLEST, JUDGE = (101, 102), 240, 8, 90
SMALL = ("size=64",)


def variants(method: str) -> list[Row]:
    """Returns the plans tried for a method."""
    slower = "stage1.optimisation.lr=0.001"
    more = {
        "auto": (),
        "lr3": ("stage1.optimisation.lr=0.003",),
        "lr1": (slower,),
        "steps100": ("stage1.epochs=10",),
        "steps200": ("stage1.epochs=20",),
        "steps1000": ("stage1.epochs=100",),
        "frozen": ("freeze=all",),
        "stem": ("freeze=stem",),
        "lr1-steps100": (slower, "stage1.epochs=10"),
        "batch12": ("batch=12",),
    }
    rows = [Row(method, "auto", (*SMALL, *settings), title=title) for title, settings in more.items()]
    return [*rows, Row(method, "short", SMALL)]


ROWS = (
    *variants("lmd"),
    Row("lmd", "auto", (*SMALL, "m_step.solver=exact"), title="exact"),
    *variants("ce"),
)


def main() -> None:
    """Draws, prepares, trains and compares."""
    options = parser_of(__doc__).parse_args()
    if not options.pool:
        for seed in DRAWS:
            prepare(options.images, options.work / f"draw-{seed}", seed)
        train_all(tasks(options.work, options.seeds, options.weights), options)
    for number in DRAWS:
        work = options.work / f"draw-{number}"
        folders = {row.name: [work / f"seed-{seed}" / row.name for seed in options.seeds] for row in ROWS}
        found = {
            name: [answers_of([run], work / "drawn.csv") for run in runs]
            for name, runs in folders.items()
            if all((run / "predictions-test.csv").is_file() for run in runs)
        }
        names = [name for name in found if name not in ("lmd-auto", "ce-auto")]
        pairs = [(name, f"{name.partition('-')[0]}-auto") for name in names]
        report(
            found,
            [pair for pair in pairs if pair[1] in found],
            options.out and options.out / f"{number}.json",
        )


def prepare(images: Path, work: Path, seed: int) -> None:
    """Draws training and judge; validation has two images of each class, of yet other lesions."""
    if (work / "data").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    every = real_images(images)
    train = draw(every, wanted_counts(every["label"], TRAIN, SMALLEST), seed)
    rest = every[~every["lesion"].isin(train["lesion"])]
    val = draw(rest, dict.fromkeys(every["label"].unique(), 2), seed)
    rest = rest[~rest["lesion"].isin(val["lesion"])]
    test = draw(rest, dict.fromkeys(every["label"].unique(), JUDGE), seed)
    parts = {"train": train, "val": val, "test": test}
    pd.concat([part.assign(split=name) for name, part in parts.items()]).to_csv(
        work / "drawn.csv", index=False
    )
    columns = ["--image-column", "file", "--label-column", "label", "--group-column", "lesion"]
    run("prepare", "table", "--table", str(work / "drawn.csv"), "--root", str(images / IMAGES), *columns,
        "--split-column", "split", "--out", str(work / "data"))  # fmt: skip


def tasks(work: Path, seeds: list[int], weights: Path | None) -> list[Task]:
    """Returns the trainings, those that say most first."""
    return [
        Task(work / f"draw-{draw}" / "data", work / f"draw-{draw}" / f"seed-{seed}", [row], seed, weights)
        for seed in seeds
        for row in ROWS
        for draw in DRAWS
    ]


if __name__ == "__main__":
    main()
