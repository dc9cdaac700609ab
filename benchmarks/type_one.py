"""How often two classifiers are told apart that are equally good: the type I error of two tests, in percent.

    python -m benchmarks.type_one    # benchmarks/results/type_one: a JSON file, and tables

Two classifiers with the same recall of each class answer the same images. Their scores correlate. Whatever a
test finds between them is an error, and it may find something in 5 of 100 repetitions. Of each classifier
there are several trainings ("seeds"): each has recalls of its own, which lie around those of its method, and
errs on other images. n is the number of images of the smallest class, or of groups of 1 to 5 images.

`influence` is what the program does (`evaluation.paired.p_of`): the variance of the images' influences on
the paired difference, the spread of the trainings added, and Student's t; and never surer than the trainings
alone allow. `bootstrap` draws groups within
each class, and trainings, with replacement. Its p-value is twice the share of drawn differences on the
rarer side of 0.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from benchmarks.coverage import ALIKE, DESIGNS, Design
from lmd.evaluation.intervals.differences import p_of
from lmd.evaluation.intervals.measured import AllMetrics
from lmd.evaluation.intervals.uncertainty import Measured, Sample, mean_of

SEED, RECALL, LEVEL = 0, 0.7, 0.05
SIZES = (2, 5, 10, 20, 50, 200, 500)
LARGEST = 1_000  # Groups of a simulated test set at most, but for its smallest class.
# Shares of the variance of a score: of all classifiers, of all trainings of one, of one training.
COMMON, OF_METHOD, OF_TRAINING = 0.6, 0.15, 0.25
SPREAD = 0.15  # Deviation, between trainings, of by how much the score of a true class is raised.
DRAWS = 499
METRICS = ("bacc", "f1", "mcc")
SITUATIONS = ((1, False), (2, False), (3, False), (5, False), (1, True), (3, True))  # Trainings; groups.


class Simulated(NamedTuple):
    """What two methods predict in each of their trainings [2][S][N], of the same images."""

    labels: np.ndarray
    clusters: np.ndarray
    predicted: list[list[np.ndarray]]


def simulate(
    random: np.random.Generator, groups: np.ndarray, recalls: Sequence[np.ndarray], seeds: int, grouped: bool
) -> Simulated:
    """Returns what so many trainings of two methods predict, whose recalls are given, of the same images.

    An image is a hit where its difficulty, a normal number, lies below the quantile that is the recall of
    its class. A miss is taken for one of the other classes, for a frequent one more often.
    """
    sizes = random.integers(1, 6, groups.sum()) if grouped else np.ones(groups.sum(), dtype=int)
    clusters = np.repeat(np.arange(groups.sum()), sizes)
    labels = np.repeat(np.arange(len(groups)), groups)[clusters]

    def noise(share: float) -> np.ndarray:
        own = random.normal(size=len(labels))
        if grouped:
            shared = random.normal(size=groups.sum())[clusters]
            own = math.sqrt(1 - ALIKE) * own + math.sqrt(ALIKE) * shared
        return math.sqrt(share) * own

    common, predicted = noise(COMMON), []
    for wanted in recalls:
        method, mistaken = common + noise(OF_METHOD), _mistaken(random, labels, groups)
        # One training is a fixed classifier: the statement is then about it, and nothing is added.
        lies = np.array([NormalDist().inv_cdf(recall) for recall in wanted])
        own = lies + SPREAD * random.normal(size=(seeds, len(groups))) * (seeds > 1)
        hits = [method + noise(OF_TRAINING) < own[seed][labels] for seed in range(seeds)]
        predicted.append([np.where(hit, labels, mistaken) for hit in hits])
    return Simulated(labels, clusters, predicted)


def _mistaken(random: np.random.Generator, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """What each image is taken for where it is a miss."""
    share = np.tile(np.sqrt(groups), (len(groups), 1))
    np.fill_diagonal(share, 0)
    steps = np.cumsum(share / share.sum(1, keepdims=True), axis=1)
    return (random.random(len(labels))[:, None] > steps[labels]).sum(1).clip(0, len(groups) - 1)


def by_influence(drawn: Simulated, classes: int, metrics: Sequence[str] = METRICS) -> dict[str, float]:
    """Returns the program's p-value in each metric."""
    sample, certain = Sample(drawn.labels, drawn.clusters), np.eye(classes)
    rows = [[AllMetrics(sample, certain[found]) for found in row] for row in drawn.predicted]

    def mean(row: Sequence[AllMetrics], name: str) -> Measured:
        return mean_of([one.whole(name) for one in row])

    return {name: p_of(mean(rows[0], name), mean(rows[1], name)) for name in metrics}


def by_bootstrap(random: np.random.Generator, drawn: Simulated, draws: int = DRAWS) -> float:
    """Returns the p-value of a bootstrap over groups within classes and over trainings."""
    hits = [np.array([found == drawn.labels for found in row]) for row in drawn.predicted]
    gap = hits[0].astype(float) - hits[1]  # [S, N]
    values, classes = np.zeros((draws, len(gap))), drawn.labels.max() + 1
    for k in range(classes):
        mine = drawn.labels == k
        names, place = np.unique(drawn.clusters[mine], return_inverse=True)
        sums = [np.bincount(place, row, len(names)) for row in gap[:, mine]]
        # Groups of the same size and differences are drawn as one kind: as many draws, and far fewer numbers.
        kinds, counts = np.unique([*sums, np.bincount(place)], axis=1, return_counts=True)
        times = random.multinomial(len(names), counts / len(names), size=draws)
        values += times @ kinds[:-1].T / (times @ kinds[-1])[:, None] / classes
    chosen = random.multinomial(len(gap), np.full(len(gap), 1 / len(gap)), size=draws) / len(gap)
    drawn_gaps = (values * chosen).sum(1)
    rarer = min((drawn_gaps <= 1e-12).sum(), (drawn_gaps >= -1e-12).sum())
    return float(min(1.0, 2 * (rarer + 1) / (draws + 1)))


class Cell(NamedTuple):
    """One situation, and how often each test found a difference that is none, in percent."""

    design: str
    traded: bool
    seeds: int
    grouped: bool
    size: int
    repeats: int
    found: dict[str, float]


def cell(design: Design, traded: bool, seeds: int, grouped: bool, size: int, repeats: int) -> Cell:
    """Simulates one situation so many times.

    `traded`: the two are equal in balanced accuracy alone. One has a recall higher by .08 in the first half
    of the classes and lower by .08 in the others.
    """
    groups, recalls = design.groups(size, LARGEST), design.recalls(RECALL)
    shift = np.where(np.arange(len(groups)) < len(groups) / 2, 0.04, -0.04) if traded else 0.0
    random, apart = np.random.default_rng([SEED, size, seeds, grouped, traded, len(design.name)]).spawn(2)
    wrong = dict.fromkeys(("bootstrap", *(METRICS[:1] if traded else METRICS)), 0)
    for _ in range(repeats):
        drawn = simulate(random, groups, [recalls + shift, recalls - shift], seeds, grouped)
        p_values = by_influence(drawn, len(groups), METRICS[:1] if traded else METRICS)
        p_values["bootstrap"] = by_bootstrap(apart, drawn)
        for name, p in p_values.items():
            wrong[name] += p < LEVEL
    found = {name: round(100 * number / repeats, 2) for name, number in wrong.items()}
    return Cell(design.name, traded, seeds, grouped, size, repeats, found)


def cells(sizes: Sequence[int]) -> Iterator[Callable[..., Cell]]:
    """Yields what has to be simulated; each takes the number of repetitions."""
    for size in sizes:
        for design in DESIGNS:
            for seeds, grouped in SITUATIONS:
                if not grouped or size <= 50:
                    yield partial(cell, design, False, seeds, grouped, size)
            yield partial(cell, design, True, 1, False, size)


def table(found: Sequence[Cell]) -> list[str]:
    """Returns a Markdown table: of each situation the lowest and the highest error over the designs."""
    sizes = sorted({one.size for one in found})
    lines = [
        "| | test | " + " | ".join(f"n = {size}" for size in sizes) + " |",
        "|---" * (len(sizes) + 2) + "|",
    ]
    for traded, seeds, grouped in dict.fromkeys((one.traded, one.seeds, one.grouped) for one in found):
        mine = [one for one in found if (one.traded, one.seeds, one.grouped) == (traded, seeds, grouped)]
        for test in mine[0].found:
            parts = [[one.found[test] for one in mine if one.size == size] for size in sizes]
            shown = " | ".join(f"{min(part):.1f} to {max(part):.1f}" if part else "-" for part in parts)
            title = "bootstrap, bacc" if test == "bootstrap" else f"influence, {test}"
            lines.append(f"| {_title(traded, seeds, grouped)} | {title} | {shown} |")
    return lines


def _title(traded: bool, seeds: int, grouped: bool) -> str:
    words = "1 training each" if seeds == 1 else f"{seeds} trainings each"
    return words + (", groups" if grouped else "") + (", recalls traded" if traded else "")


def main() -> None:
    """Simulates all situations, those of a size after those of a smaller one; what is there is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/type_one"))
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for size in asked.sizes:
        found = [run(asked.repeats)._asdict() for run in cells([size])]
        (asked.out / f"n{size}.json").write_text(json.dumps(found, indent=0) + "\n")
    every = [Cell(**one) for file in asked.out.glob("n*.json") for one in json.loads(file.read_text())]
    lines = table(sorted(every, key=lambda one: (one.traded, one.grouped, one.seeds, one.size)))
    (asked.out / "table.md").write_text("\n".join(lines) + "\n")
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
