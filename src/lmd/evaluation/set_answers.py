"""Prediction sets of new images, with the promise that validation images allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmd.errors import DataError, SettingsError
from lmd.evaluation.probability.source import OF_SEVERAL, Source
from lmd.evaluation.selective.conformal import Calibrated, calibrate, check_level, members
from lmd.evaluation.selective.sets import allowed
from lmd.text import listed

BETWEEN = "; "  # The classes of a set in the column.
_NO_MEAN = "every image of the folds has trained all models of the mean but one, so that none is new to it"


@dataclass(frozen=True)
class Promise:
    """The thresholds of all classes for sets that shall hold the true class with a share of `level`."""

    classes: Sequence[str]
    level: float
    found: list[Calibrated]

    def added_to(self, answers: pd.DataFrame) -> pd.DataFrame:
        """Returns a table of answers with the column `set`: its classes, the most probable one first."""
        return answers.assign(set=[BETWEEN.join(names) for names in self.sets_of(answers)])

    def sets_of(self, answers: pd.DataFrame) -> list[list[str]]:
        """Returns the set of each answer of a table, the most probable class first."""
        shares = answers[[f"p_{name}" for name in self.classes]].to_numpy(dtype=np.float64)
        predicted = answers["predicted"].map({name: k for k, name in enumerate(self.classes)}).to_numpy()
        inside = members(shares, predicted, np.array([one.threshold for one in self.found]))
        return [self._named(*row) for row in zip(shares, inside, strict=True)]

    def _named(self, shares: np.ndarray, inside: np.ndarray) -> list[str]:
        order = np.argsort(-shares, kind="stable")
        return [self.classes[k] for k in order if inside[k]]

    def lines(self) -> list[str]:
        """Returns what is promised, and of each class without a threshold of its own what n allows."""
        own = [name for name, one in zip(self.classes, self.found, strict=True) if one.basis == "class"]
        each = f"of each of {listed(own)}" if own else "of no class by itself"
        alone = all(one.n == one.groups for one in self.found)
        promise = (
            f"sets: {100 * self.level:g}% of the images {each} have their class in the set, at any prevalence"
            f"{'' if alone else ' and with each group counting as one image'}, where new images are like "
            "those of validation; nothing is promised of others"
        )
        return [promise, *(line for line in map(self._line, range(len(self.classes))) if line)]

    def _line(self, k: int) -> str:
        found = self.found[k]
        if found.basis == "class":
            return ""
        told = allowed(found, [self.classes[each] for each in found.of], self.level)
        return f"sets: {self.classes[k]}: {told}"


def refuse_both(prior: object | None, sets: float | None) -> None:
    """Refuses sets at a prior.

    Raises:
        SettingsError: both are given.
    """
    if prior is not None and sets is not None:
        raise SettingsError(
            "--sets and --prior cannot go together: the thresholds of sets are for the model's own "
            "probabilities, and hold at any prevalence; leave --prior out"
        )


def promise_of(source: Source, bands: Mapping[str, Sequence[str]], level: float) -> Promise:
    """Returns the thresholds that a run's answers on validation images give.

    The mean of several models has none: each image has trained all of them but one, so that no answer of the
    mean is that of a new image. The answers of single folds are those of other models.

    Raises:
        SettingsError: the level is not between 0 and 1.
        DataError: there are no answers on validation images.
    """
    check_level(level)
    if isinstance(source.validation, str):
        why = source.validation
        if why == OF_SEVERAL:
            why = (
                "of the mean of several models: every image trained all of them but one, so none is new to it"
            )
        raise DataError(f"--sets has nothing to calibrate with: {why}")
    val, place = source.validation, list(source.classes).index
    places = {name: [place(one) for one in some] for name, some in bands.items()}
    return Promise(
        source.classes, level, calibrate(val.labels, val.probabilities, val.clusters, places, level)
    )
