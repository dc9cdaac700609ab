"""Trainings of several methods on the same images, side by side, and the table of what they are worth."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from lmd.evaluation.cases import Cases, cases_of, measure
from lmd.evaluation.intervals.differences import paired_difference
from lmd.evaluation.intervals.uncertainty import Measured, mean_of

SHOWN = ("bacc", "auc", "f1")


@dataclass(frozen=True)
class Row:
    """A row: a method, a budget and settings; `start` is the row whose first stage it takes over."""

    method: str
    budget: str
    settings: tuple[str, ...] = ()
    start: str | None = None
    title: str = ""

    @property
    def name(self) -> str:
        """The name of the row and of its runs."""
        return f"{self.method}-{self.title or self.budget}"


@dataclass(frozen=True)
class Task:
    """Rows to train one after another on a data set, each into a folder of its own under `out`."""

    data: Path
    out: Path
    rows: Sequence[Row]
    seed: int = 42
    weights: Path | None = None


@dataclass
class Answers:
    """The predictions of a row with one seed, and the seconds of its trainings."""

    cases: Cases
    classes: list[str]
    seconds: list[float] = field(default_factory=list)


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """Returns the options of a benchmark that trains on drawn images."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--images", type=Path, required=True, help="the folder with the tables of ISIC 2019")
    parser.add_argument("--weights", type=Path, help="a safetensors file; without it: random weights")
    parser.add_argument("--work", type=Path, required=True, help="where data and runs go")
    parser.add_argument("--out", type=Path, help="a JSON file for the table")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--workers", type=int, default=1, help="trainings side by side")
    parser.add_argument(
        "--deadline", type=float, default=float("inf"), help="seconds after which none begins"
    )
    parser.add_argument("--pool", action="store_true", help="train nothing")
    return parser


def train_all(tasks: Sequence[Task], options: argparse.Namespace) -> None:
    """Runs the tasks in so many processes; after the deadline none begins, and a later call goes on."""
    end = time.time() + options.deadline
    if options.workers == 1:
        list(map(partial(_train, end=end), tasks))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=context) as pool:
        for task, seconds in zip(tasks, pool.map(partial(_train, end=end), tasks), strict=True):
            print(f"{task.out} {'+'.join(row.name for row in task.rows)}: {seconds:.0f} s", flush=True)


def _train(task: Task, end: float) -> float:
    """Trains and tests the rows that are missing; returns the seconds."""
    import torch

    import lmd

    if time.time() > end:
        return 0.0
    torch.set_num_threads(1)
    begun = time.time()
    for row in task.rows:
        out = task.out / row.name
        own: dict[str, Any] = {"weights": task.weights, "partial_weights": True} if task.weights else {}
        settings = [*row.settings, *([] if task.weights else ["pretrained=false"])]
        start = None if row.start is None else task.out / row.start
        if not (out / "model" / "model.json").is_file():
            lmd.train(
                task.data, out=out, method=row.method, budget=row.budget, settings=settings,
                seed=task.seed, start=start, resume=out.exists(), **own,
            )  # fmt: skip
        if not (out / "predictions-test.csv").is_file():
            lmd.evaluate(out)
    return time.time() - begun


def answers_of(runs: Sequence[Path], lesions: Path) -> Answers:
    """Returns the predictions of some runs together, with the lesions as groups."""
    table = pd.concat([pd.read_csv(run / "predictions-test.csv") for run in runs], ignore_index=True)
    group = pd.read_csv(lesions).set_index("file")["lesion"]
    names = [column[2:] for column in table.columns if column.startswith("p_")]
    cases = cases_of(table.assign(group=group.loc[table["id"]].to_numpy()), names)
    return Answers(cases, names, [_seconds(run) for run in runs])


def _seconds(run: Path) -> float:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return round(sum(json.loads(line)["seconds"] for line in lines), 1)


def report(
    found: dict[str, list[Answers]], pairs: Sequence[tuple[str, str]], out: Path | None
) -> dict[str, Any]:
    """Prints the table and the paired differences, each a mean over seeds, and writes both as JSON."""
    measured = {name: _over_seeds(seeds) for name, seeds in found.items()}
    rows = [_row(name, measured[name], seeds) for name, seeds in found.items()]
    differences = {
        f"{first} - {second}": _plain(paired_difference(measured[first]["bacc"], measured[second]["bacc"]))
        for first, second in pairs
    }
    print("\n".join(table(rows)))
    for name, one in differences.items():
        print(f"{name}: {_cell(one)}")
    tree = {"rows": rows, "differences": differences}
    if out:
        out.write_text(json.dumps(tree, indent=2) + "\n")
    return tree


def _over_seeds(seeds: Sequence[Answers]) -> dict[str, Measured]:
    """Each metric of a row: the mean over its seeds."""
    each = [measure(one.cases, one.classes, {}) for one in seeds]
    return {name: mean_of([metrics[name] for metrics in each]) for name in SHOWN}


def _row(name: str, metrics: dict[str, Measured], seeds: Sequence[Answers]) -> dict[str, Any]:
    first = seeds[0]
    hits = sum(one.cases.probabilities.argmax(1) == one.cases.labels for one in seeds) / len(seeds)
    labels = first.cases.labels
    return {
        "row": name,
        "cases": len(labels),
        "seeds": len(seeds),
        "metrics": {metric: _plain(one.estimate()) for metric, one in metrics.items()},
        "bacc_by_seed": list(metrics["bacc"].trained),
        "recall": {
            label: [float(hits[labels == k].mean()), int((labels == k).sum())]
            for k, label in enumerate(first.classes)
        },
        "seconds": [seconds for one in seeds for seconds in one.seconds],
    }


def _plain(metric: Any) -> dict[str, Any]:
    return {name: getattr(metric, name) for name in ("value", "low", "high")}


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the rows as a Markdown table."""
    lines = ["| row | " + " | ".join(SHOWN) + " | seconds a run |", "|---|" + "---|" * (len(SHOWN) + 1)]
    for row in rows:
        cells = [_cell(row["metrics"][name]) for name in SHOWN]
        mean = sum(row["seconds"]) / len(row["seconds"])
        lines.append(f"| {row['row']} | {' | '.join(cells)} | {mean:.0f} |")
    return lines


def _cell(metric: dict[str, Any]) -> str:
    value, low, high = (metric[name] for name in ("value", "low", "high"))
    return f"{value:.3f}" + ("" if low is None else f" [{low:.3f}, {high:.3f}]")


def run(*words: str) -> None:
    """Runs the command `lmd`."""
    subprocess.run([sys.executable, "-m", "lmd", *words], check=True)
