"""The figures of docs/results.md: steps, parts, and why decisions are shifted.

    python -m benchmarks.win.story --results benchmarks/results/win/isic --out benchmarks/results/win/figures
    python -m benchmarks.win.story --results ... --out ... --data DATA --features FEATURES.npz...

The second call draws the geometry as well. DATA is the dataset folder of the features (`benchmarks.saved`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.saved import Saved, read_saved
from benchmarks.win.tables import CHOSEN, Files, Kept, Rule, finished, measured, read
from lmd.data.dataset.manifest import read_dataset
from lmd.reporting.figures import BLUE, GREEN, GREY, ORANGE, drawing

METHODS = {"ce": ("CE", GREY, "o"), "lmd": ("LMD", BLUE, "s"), "lmd-plus": ("LMD+", ORANGE, "^")}
EPOCHS, STEPS = 30, 110  # Of the table, and steps of an epoch.
ENCODERS = {
    "wo-rrl": ("CE", GREY, "o"),
    "lmd-paper": ("RRL", BLUE, "s"),
    "plusA": ("balanced RRL", ORANGE, "^"),
}
SEED = 42


def main() -> None:
    """Draws the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, required=True, help="the folder of one domain")
    parser.add_argument("--out", type=Path, required=True, help="where the figures go")
    parser.add_argument("--data", type=Path, help="the dataset folder of the features")
    parser.add_argument("--features", type=Path, nargs="+", default=[])
    options = parser.parse_args()
    write(options.out / "steps.svg", steps(options.results))
    write(options.out / "parts.svg", parts(options.results))
    if options.features:
        dataset = read_dataset(options.data, check_files=False)
        saved = [read_saved(dataset, path) for path in options.features]
        write(options.out / "drift.svg", drift(saved))
        rows = [
            {"encoder": one.name, **dict(zip(dataset.classes, moved(one).round(3), strict=True))}
            for one in saved
        ]
        pd.DataFrame(rows).to_csv(options.results / "drift.csv", index=False)


def write(path: Path, svg: str) -> None:
    """Writes a drawing into a file of its own."""
    path.write_text('<?xml version="1.0" encoding="UTF-8"?>\n' + svg, encoding="utf-8")


def steps(results: Path) -> str:
    """Validation during the trainings of the table; test images of the first fold after other lengths.

    The right panels have mirror images in all rows.
    """
    curves, kept = pd.read_csv(results / "curves.csv"), read(results, ["fold-1"])
    chosen = json.loads((results / CHOSEN).read_text(encoding="utf-8"))
    files = finished(results, kept)
    with drawing(9.5, 3.2, 3) as picture:
        during, whole, tail = picture.axes
        for row, (name, colour, marker) in METHODS.items():
            one = curves[
                (curves["row"] == chosen[row]) & (curves["stage"] == "stage1") & (curves["seed"] == SEED)
            ]
            mean = one.groupby("epoch")["margin"].mean()
            during.plot((mean.index + 1) * STEPS, mean, color=colour, label=name)
            points = lengths(kept, files, chosen[row], 1 + 0.05 * list(METHODS).index(row))
            for axes, metric in ((whole, "bacc"), (tail, "tail")):
                values = [found[metric] for _, found in points]
                bounds = np.array([[one.value - one.low, one.high - one.value] for one in values]).T
                style = {"color": colour, "marker": marker, "markersize": 4, "capsize": 2, "label": name}
                axes.errorbar([at for at, _ in points], [one.value for one in values], yerr=bounds, **style)
        during.set(title="during the training, five folds", ylabel="smoothed, validation")
        whole.set(title="trainings of other lengths, one fold", ylabel="balanced accuracy, test")
        tail.set(title="the same", ylabel="tail recall, test")
        for axes in picture.axes:
            axes.set_xlabel("steps")
        during.legend(frameon=False)
    return picture.svg


def lengths(kept: Kept, files: Files, row: str, apart: float) -> list[tuple[float, dict[str, Any]]]:
    """What trainings of other lengths reach, by their steps, which stand a little apart from other rows'."""
    found = []
    for epochs in (5, 10, 20, EPOCHS, 60):
        name = row if epochs == EPOCHS else f"{row}@{epochs}"
        if name in files:
            values = measured(kept, files[name][SEED], Rule(" flips"))
            estimates = {metric: values[metric].estimate() for metric in ("bacc", "tail")}
            found.append((epochs * STEPS * apart, estimates))
    return found


def parts(results: Path) -> str:
    """The difference that each part makes, with its interval."""
    found = json.loads((results / "ingredients.json").read_text(encoding="utf-8"))[::-1]
    with drawing(7.5, 0.32 * len(found) + 0.8) as picture:
        for at, one in enumerate(found):
            value, low, high = (100 * one["bacc"][name] for name in ("value", "low", "high"))
            colour = ORANGE if low > 0 else GREY
            picture.axes.plot([low, high], [at, at], color=colour)
            picture.axes.plot(value, at, "o", color=colour)
        picture.axes.axvline(0, color="#000000", linewidth=0.8)
        picture.axes.set_yticks(range(len(found)), [f"{one['part']} ({one['folds']} folds)" for one in found])
        picture.axes.set_xlabel(
            "points of balanced accuracy that it adds (orange: its own interval is above 0)"
        )
    return picture.svg


def moved(saved: Saved) -> np.ndarray:
    """How far the mean of held-out images lies from that of training images toward the centre [K].

    With m_k and h_k the means of training and held-out images and g the mean of all m_k, it is
    1 - <h_k - g, m_k - g> / |m_k - g|^2: 0 is no movement, 1 is the centre.
    """
    classes, train = len(saved.dataset.classes), saved.rows("train")
    means, held = (
        np.array([saved.features[rows & (saved.labels == k)].mean(0) for k in range(classes)])
        for rows in (train, ~train)
    )
    away = means - means.mean(0)
    return 1 - ((held - means.mean(0)) * away).sum(1) / (away**2).sum(1)


def drift(saved: Sequence[Saved]) -> str:
    """Where new images of each class lie, between the mean of training images and the centre."""
    dataset = saved[0].dataset
    counts = dataset.counts("train")
    order = np.argsort(counts)
    places = ["mean of\ntraining images", "25%", "50%", "75%", "centre of\nall classes"]
    with drawing(7, 3.4) as picture:
        axes = picture.axes
        axes.axvline(0, color=GREEN, linewidth=0.8)
        for part, (label, colour, marker) in ENCODERS.items():
            axes.plot([], [], marker, color=colour, label=label)
            for one in saved:
                if part in one.name:
                    axes.plot(100 * moved(one)[order], range(len(order)), marker, color=colour, alpha=0.8)
        axes.set_yticks(range(len(order)), [f"{dataset.classes[k]} ({counts[k]:,})" for k in order])
        axes.set_xlim(-5, 105)
        axes.set_xticks([0, 25, 50, 75, 100], places)
        axes.set_ylabel("class (training images)")
        axes.legend(frameon=False, title="encoder")
    return picture.svg


if __name__ == "__main__":
    main()
