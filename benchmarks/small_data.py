"""Trains on a few hundred real images, five folds, and pools what the folds' models say of their test images.

    python -m benchmarks.small_data --images isic2019 --weights resnet18.safetensors --work work/small
    python -m benchmarks.small_data --images isic2019 --work work/quick --quick

The images are drawn from those of ISIC 2019 (benchmarks/drawn.py), each class at its share but no fewer than
12. `auto` and `short` are trained with one seed. A run that was interrupted goes on; what is finished is not
trained again. `--pool` computes the table from the predictions that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.drawn import IMAGES, draw, real_images, wanted_counts
from lmd.evaluation import measure
from lmd.evaluation.cases import cases_of, compare

TOTAL, SMALLEST, SEED, FOLDS = 347, 12, 16, 5
SHOWN = ("bacc", "auc", "f1")


@dataclass(frozen=True)
class Row:
    """A row of the table: a method and a budget; `start` is the row whose first stage it takes over."""

    method: str
    budget: str
    start: str | None = None

    @property
    def name(self) -> str:
        """The name of the row and of its runs."""
        return f"{self.method}-{self.budget}"


ROWS = (
    Row("ce", "auto"),
    Row("logit-adjustment", "auto", "ce-auto"),
    Row("lmd", "auto"),
    Row("ce", "short"),
    Row("logit-adjustment", "short", "ce-short"),
    Row("lmd", "short"),
)
QUICK_ROWS = (Row("ce", "smoke"), Row("logit-adjustment", "smoke", "ce-smoke"))
PAIRS = (*zip(ROWS[:3], ROWS[3:], strict=True), (ROWS[1], ROWS[0]), (ROWS[2], ROWS[1]))
QUICK_PAIRS = (QUICK_ROWS[::-1],)


def main() -> None:
    """Draws, prepares, trains and pools."""
    parser = parser_of(__doc__)
    parser.add_argument("--quick", action="store_true", help="two folds, seconds")
    parser.add_argument("--pool", action="store_true", help="train nothing")
    options = parser.parse_args()
    rows, pairs, folds = (QUICK_ROWS, QUICK_PAIRS, 2) if options.quick else (ROWS, PAIRS, FOLDS)
    if not options.pool:
        prepare(options.images, options.work, folds)
        for fold in range(folds):
            for row in rows:
                train(options.work, row, fold, options.weights)
    report([pooled(options.work, row, folds) for row in rows], differences(options.work, pairs, folds),
           options.out)  # fmt: skip


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """Returns the options of a benchmark that trains on drawn images."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--images", type=Path, required=True, help="the folder with the tables of ISIC 2019")
    parser.add_argument("--weights", type=Path, help="a safetensors file; without it: random weights")
    parser.add_argument("--work", type=Path, required=True, help="where data and runs go")
    parser.add_argument("--out", type=Path, help="a JSON file for the table")
    return parser


def report(rows: list[dict[str, Any]], paired: dict[str, dict[str, Any]], out: Path | None) -> None:
    """Prints the table and the differences, and writes both as JSON."""
    print("\n".join(table(rows)))
    for name, one in paired.items():
        print(f"{name}: {_cell(one)}")
    if out:
        out.write_text(json.dumps({"rows": rows, "differences": paired}, indent=2) + "\n")


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


def train(work: Path, row: Row, fold: int, weights: Path | None) -> None:
    """Trains and tests one run on a fold, where that has not been done; folds have numbers from 1 on disk."""
    train_on(work / "data" / f"fold-{fold + 1}", work, row, fold, weights)


def train_on(data: Path, work: Path, row: Row, fold: int, weights: Path | None, *more: str) -> None:
    """Trains and tests one run on a data set, where that has not been done, with `more` words."""
    out = folder(work, row.name, fold)
    if not (out / "model" / "model.json").is_file():
        own = ["--weights", str(weights), "--partial-weights"] if weights else ["--set", "pretrained=false"]
        start = ["--from", str(folder(work, row.start, fold))] if row.start else []
        run("train", str(data), "--method", row.method, "--budget", row.budget, "--seed", "42", *more,
            "--out", str(out), *own, *start, "--resume")  # fmt: skip
    if not (out / "predictions-test.csv").is_file():
        run("evaluate", str(out))


def folder(work: Path, name: str, fold: int) -> Path:
    """Returns the run folder of a row and a fold."""
    return work / "runs" / name / f"fold-{fold}"


def pooled(work: Path, row: Row, folds: int) -> dict[str, Any]:
    """Returns the metrics of the test images of all folds, each predicted by a model that never saw it."""
    cases, names = answers(work, row, folds)
    labels = np.array([names.index(label) for label in cases["label"]])
    shares = cases[[f"p_{name}" for name in names]].to_numpy()
    result = measure(labels, shares, cases["group"].to_numpy(), classes=names)
    recalls = (cases["predicted"] == cases["label"]).groupby(cases["label"]).agg(["mean", "size"])
    return {
        "row": row.name,
        "cases": len(cases),
        "metrics": {name: _plain(result.metrics[name]) for name in SHOWN if name in result.metrics},
        "recall": {str(name): [float(one["mean"]), int(one["size"])] for name, one in recalls.iterrows()},
        "seconds": [_seconds(folder(work, row.name, fold)) for fold in range(folds)],
    }


def answers(work: Path, row: Row, folds: int) -> tuple[pd.DataFrame, list[str]]:
    """Returns the predictions of all folds with the lesions as groups, and the names of the classes."""
    files = [folder(work, row.name, fold) / "predictions-test.csv" for fold in range(folds)]
    cases = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
    lesions = pd.read_csv(work / "drawn.csv").set_index("file")["lesion"]
    names = [column[2:] for column in cases.columns if column.startswith("p_")]
    return cases.assign(group=lesions.loc[cases["id"]].to_numpy()), names


def differences(work: Path, pairs: Sequence[tuple[Row, Row]], folds: int) -> dict[str, dict[str, Any]]:
    """Returns the paired difference in balanced accuracy of each two rows, on the same pooled images."""
    found: dict[str, dict[str, Any]] = {}
    for first, second in pairs:
        (mine, names), (other, _) = answers(work, first, folds), answers(work, second, folds)
        both = compare(cases_of(mine, names), cases_of(other, names), names, {})
        found[f"{first.name} - {second.name}"] = _plain(both["bacc"])
    return found


def _plain(metric: Any) -> dict[str, Any]:
    return {name: getattr(metric, name) for name in ("value", "low", "high")}


def _seconds(out: Path) -> float:
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return round(sum(json.loads(line)["seconds"] for line in lines), 1)


def table(found: list[dict[str, Any]]) -> list[str]:
    """Returns the rows as a Markdown table."""
    lines = ["| row | " + " | ".join(SHOWN) + " | seconds a fold |", "|---|" + "---|" * (len(SHOWN) + 1)]
    for row in found:
        cells = [_cell(row["metrics"].get(name)) for name in SHOWN]
        mean = sum(row["seconds"]) / len(row["seconds"])
        lines.append(f"| {row['row']} | {' | '.join(cells)} | {mean:.0f} |")
    return lines


def _cell(metric: dict[str, Any] | None) -> str:
    if metric is None:
        return "-"
    low, high = metric.get("low"), metric.get("high")
    interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return f"{metric['value']:.3f}{interval}"


def run(*words: str) -> None:
    """Runs the command `lmd` with the threads that OMP_NUM_THREADS says."""
    subprocess.run([sys.executable, "-m", "lmd", *words], check=True, env=dict(os.environ))


if __name__ == "__main__":
    main()
