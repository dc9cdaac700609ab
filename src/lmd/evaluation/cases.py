"""The cases of a run: its predictions on a split, read from their file and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lmd.data.dataset.manifest import Dataset
from lmd.errors import DataError
from lmd.evaluation.intervals.differences import paired_difference
from lmd.evaluation.intervals.measured import AllMetrics
from lmd.evaluation.intervals.uncertainty import Measured, Sample
from lmd.evaluation.parts import Estimate
from lmd.evaluation.probability.metrics import check_probabilities
from lmd.spreadsheet import unguarded_table


@dataclass(frozen=True)
class Cases:
    """Predictions in the order of their ids: classes as numbers, probabilities [N, K], each image's group.

    The probabilities rank. `decided` are the classes that the model decided for, as numbers; the largest
    probability where they are not given. `predicted` is what to read.
    """

    ids: np.ndarray
    labels: np.ndarray
    clusters: np.ndarray
    probabilities: np.ndarray
    decided: np.ndarray | None = None

    @property
    def predicted(self) -> np.ndarray:
        """The class that each case is taken for [N]."""
        return self.probabilities.argmax(1) if self.decided is None else self.decided

    def identity(self) -> list[tuple[str, int, int]]:
        """Returns what makes them the same cases: of each its id, its class and the number of its group."""
        numbers = pd.factorize(self.clusters)[0]
        return list(zip(self.ids.tolist(), self.labels.tolist(), numbers.tolist(), strict=True))


def cases_of(predictions: pd.DataFrame, classes: list[str]) -> Cases:
    """Returns the cases of a table `id,label,group,predicted,p_<class>...`.

    Where `predicted` is missing, the largest probability decides.

    Raises:
        DataError: an image has no label or no decision, or one that is not a class; or no probabilities.
    """
    table = predictions.assign(id=predictions["id"].astype(str)).sort_values("id", kind="stable")
    labels = _numbers(table, "label", classes)
    decided = _numbers(table, "predicted", classes) if "predicted" in table else None
    probabilities = table[[f"p_{name}" for name in classes]].to_numpy(dtype=np.float64)
    check_probabilities(probabilities, [f"image '{name}'" for name in table["id"]])
    return Cases(table["id"].to_numpy(), labels, table["group"].to_numpy(), probabilities, decided)


def _numbers(table: pd.DataFrame, column: str, classes: list[str]) -> np.ndarray:
    """A column of class names as numbers."""
    numbers = table[column].map({name: k for k, name in enumerate(classes)})
    if numbers.isna().any():
        first = table.loc[numbers.isna()].iloc[0]
        told = {"label": "label", "predicted": "predicted class"}[column]
        raise DataError(f"image '{first['id']}' has no known {told}: '{first[column]}'")
    return numbers.to_numpy(dtype=np.int64)


def read_predictions(path: Path) -> pd.DataFrame:
    """Returns the table of a predictions file; every value is text.

    Raises:
        DataError: there is no such table.
    """
    try:
        return unguarded_table(pd.read_csv(path, dtype=str, keep_default_na=False))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} does not hold predictions: {error}") from error


def read_cases(path: Path, dataset: Dataset, split: str = "test") -> Cases:
    """Returns the cases of a predictions file of a data set's split.

    Raises:
        DataError: the file was changed, or is of other images or classes.
    """
    table = read_predictions(path)
    try:
        cases = cases_of(table, dataset.classes)
    except (DataError, KeyError, ValueError) as error:
        raise DataError(f"{path} does not hold predictions of these classes: {error}") from error
    if cases.ids.tolist() != sorted(dataset.split(split)["id"]):
        raise DataError(f"{path} does not hold the {split} images of {dataset.folder}")
    return cases


def measure_all(cases: Cases) -> AllMetrics:
    """Returns every metric of some cases."""
    return AllMetrics(Sample.of(cases.labels, cases.clusters), cases.probabilities, cases.decided)


def measure(cases: Cases, classes: list[str], bands: Mapping[str, list[str]]) -> dict[str, Measured]:
    """Returns every macro metric, and the recall of each frequency band under the band's name."""
    found = measure_all(cases)
    recalls = {
        band: found.over("recall", [classes.index(name) for name in members])
        for band, members in bands.items()
    }
    return {**found.macro, **recalls}


def compare(
    first: Cases, second: Cases, classes: list[str], bands: Mapping[str, list[str]]
) -> dict[str, Estimate]:
    """Returns the paired difference first - second in each metric that `measure` has.

    Raises:
        DataError: the two are not predictions of the same cases.
    """
    if first.identity() != second.identity():
        raise DataError("the two runs were not tested on the same images: their difference cannot be paired")
    mine, other = measure(first, classes, bands), measure(second, classes, bands)
    return {name: paired_difference(mine[name], other[name]) for name in mine}
