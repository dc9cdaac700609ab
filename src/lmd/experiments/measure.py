"""How sure a table is: one bootstrap over seeds and test cases, the same for every row.

In each of the draws the test groups (lesions, patients) are drawn with replacement within their classes, and
the seeds are drawn with replacement. All seeds and rows are tested on the same images, so that a draw of
cases is the same for all of them: differences between rows are then paired. With one seed the cases alone
vary. A bootstrap over S seeds sees (S - 1) / S of their variance; with two or three it is a lower bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lmd.data.dataset.manifest import Dataset
from lmd.errors import DataError
from lmd.evaluation.evaluate import DRAWS, LEVEL
from lmd.evaluation.metrics import all_metrics, mean_over_classes
from lmd.evaluation.uncertainty import bootstrap_weights, interval
from lmd.settings import Tree


@dataclass(frozen=True)
class Cases:
    """The predictions of one run: classes as numbers, probabilities [N, K], the group of each image."""

    ids: np.ndarray
    labels: np.ndarray
    clusters: np.ndarray
    probabilities: np.ndarray

    def weights(self, draws: int = DRAWS) -> np.ndarray:
        """How often each image is drawn [D, N]: equal for equal labels and groups."""
        return bootstrap_weights(self.labels, self.clusters, draws, seed=0)


@dataclass(frozen=True)
class Measured:
    """One metric of one run: its value on all cases and in each draw of cases [D]."""

    value: float
    draws: np.ndarray


# Of one row: by seed, then by metric.
Samples = dict[int, dict[str, Measured]]


def read_cases(path: Path, dataset: Dataset) -> Cases:
    """Returns the cases of a predictions file of the test split, in the order of their ids.

    Raises:
        DataError: the file was changed, or is of other images or classes.
    """
    classes = dataset.classes
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False).sort_values("id")
        probabilities = table[[f"p_{name}" for name in classes]].to_numpy(dtype=np.float64)
        labels = table["label"].map({name: k for k, name in enumerate(classes)}).to_numpy(dtype=np.int64)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} does not hold predictions of these classes: {error}") from error
    cases = Cases(table["id"].to_numpy(), labels, table["group"].to_numpy(), probabilities)
    if cases.ids.tolist() != sorted(dataset.split("test")["id"]):
        raise DataError(f"{path} does not hold the test images of {dataset.folder}")
    return cases


def measure(
    cases: Cases, classes: list[str], groups: Mapping[str, list[str]], draws: int = DRAWS
) -> dict[str, Measured]:
    """Returns every macro metric, and the recall of each group under the group's name."""
    once = np.ones((1, len(cases.labels)))
    macro, per_class = all_metrics(cases.labels, cases.probabilities, once)
    macro_draws, class_draws = all_metrics(cases.labels, cases.probabilities, cases.weights(draws))
    found = {name: Measured(float(macro[name][0]), macro_draws[name]) for name in macro}
    for group, members in groups.items():
        columns = [classes.index(name) for name in members]
        value = mean_over_classes(per_class["recall"][:, columns])[0]
        found[group] = Measured(float(value), mean_over_classes(class_draws["recall"][:, columns]))
    return found


def summary(samples: Samples, metric: str) -> Tree:
    """Returns the mean over the seeds, in percent, with its interval."""
    per_seed = [seed[metric] for seed in samples.values()]
    value = float(np.mean([entry.value for entry in per_seed]))
    return _entry(value, _over_seeds(np.stack([entry.draws for entry in per_seed])), len(per_seed))


def difference(first: Samples, second: Samples, metric: str) -> Tree | None:
    """Returns first - second over the seeds that both have, in percent; None where they have none."""
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    pairs = [(first[seed][metric], second[seed][metric]) for seed in seeds]
    value = float(np.mean([a.value - b.value for a, b in pairs]))
    return _entry(value, _over_seeds(np.stack([a.draws - b.draws for a, b in pairs])), len(seeds))


def _over_seeds(draws: np.ndarray) -> np.ndarray:
    """The mean over seeds drawn with replacement, of draws [S, D]; the same for every metric and row."""
    seeds, number = draws.shape
    chosen = np.random.default_rng(seeds).integers(0, seeds, (seeds, number))
    return draws[chosen, np.arange(number)].mean(0)


def _entry(value: float, draws: np.ndarray, seeds: int) -> Tree:
    low, high = interval(draws, LEVEL)
    numbers = {"value": value, "low": low, "high": high}
    entry: Tree = {name: percent(number) for name, number in numbers.items()}
    return entry | {"seeds": seeds}


def percent(number: float) -> float | None:
    """Returns a share in percent; None for what is undefined."""
    return None if np.isnan(number) else round(100 * float(number), 6)


def verdict(entry: Tree) -> str:
    """Says what a difference shows, in one word or three.

    >>> verdict({"value": 2.0, "low": 0.5, "high": 3.0}), verdict({"value": 2.0, "low": -0.5, "high": 3.0})
    ('higher', 'not told apart')
    """
    if entry["value"] is None:
        return "undefined"
    if entry["low"] > 0:
        return "higher"
    return "lower" if entry["high"] < 0 else "not told apart"
