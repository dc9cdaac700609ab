"""What an evaluation says beyond its metrics: sets, abstention, unlikeness, groups and subgroups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from lmd.evaluation.cases import Cases, cases_of
from lmd.evaluation.groups.by_group import by_group
from lmd.evaluation.groups.subgroups import By, parse_by, subgroups_of
from lmd.evaluation.results import Evaluation
from lmd.evaluation.selective.abstention import Answers, selective_of
from lmd.evaluation.selective.conformal import check_level
from lmd.evaluation.selective.sets import COVERAGE, sets_of
from lmd.evaluation.selective.unlikeness_result import unlikeness_result
from lmd.evaluation.wanted import NOTHING_WANTED, Wanted

SURE = {
    "p": "the largest probability",
    "d": "the largest of the probabilities for decisions, which tau shifts",
}
_CALIBRATED = "the sets were calibrated on these images: on other splits they say what they are worth"
_LEARNT = "the model has learnt these images: sets that hold for new images say nothing of them"
_OTHER = "these images are of another data set: the promise holds where images are like those of validation"
_NOT_KEPT = "the run keeps nothing to tell it by: an earlier version made it, or it has no validation images"


@dataclass(frozen=True)
class Further:
    """What is asked beyond the metrics: columns, as `--by` takes them, the coverage of sets, a prior ..."""

    by: Sequence[str] = ()
    coverage: float = COVERAGE
    wanted: Wanted = NOTHING_WANTED

    def columns(self, known: Sequence[str]) -> list[By]:
        """Returns the columns that are meant, in a table with these columns.

        Raises:
            SettingsError: no such column, or a coverage that no set can have.
        """
        check_level(self.coverage)
        return [parse_by(text, known) for text in dict.fromkeys(self.by)]


NOTHING = Further()


@dataclass(frozen=True)
class Around:
    """What is known around the predictions of a split."""

    split: str
    classes: list[str]
    bands: dict[str, list[str]]
    validation: Cases | str
    """or in words why there are none"""
    rows: pd.DataFrame
    """of the manifest, for these images"""
    own: bool = True
    """whether they are of the run's own data set"""

    @property
    def places(self) -> dict[str, list[int]]:
        """The bands with the numbers of their classes."""
        return {band: [self.classes.index(name) for name in some] for band, some in self.bands.items()}


def further(
    result: Evaluation, predictions: pd.DataFrame, around: Around, asked: Further
) -> tuple[Evaluation, pd.DataFrame | None]:
    """Returns an evaluation with all of it, and the predictions by group where there are groups.

    Raises:
        SettingsError, DataError: a column cannot be made into cells.
    """
    columns = asked.columns(list(around.rows.columns))
    cases = cases_of(predictions, around.classes)
    found: dict[str, Any] = {
        "sets": _sets(cases, around, asked.coverage),
        "selective": _selective(cases, predictions, around),
        "unlikeness": _unlikeness(cases, predictions, around.classes),
    }
    groups = by_group(predictions, around.classes, around.bands, around.split)
    table, found["by_group"] = (None, groups) if isinstance(groups, str) else groups
    reasons = {name: value for name, value in found.items() if isinstance(value, str)}
    found = {name: None if name in reasons else value for name, value in found.items()}
    if columns:
        parts = (around.classes, around.bands, around.split)
        found["subgroups"] = subgroups_of(predictions, around.rows, columns, *parts)
    return result.model_copy(update={**found, "reasons": {**result.reasons, **reasons}}), table


def _sets(cases: Cases, around: Around, level: float) -> Any:
    if around.own and around.split != "test":
        return _CALIBRATED if around.split == "val" else _LEARNT
    if isinstance(around.validation, str):
        return around.validation
    found = sets_of(cases, around.validation, around.classes, around.places, level)
    return found if around.own else found.model_copy(update={"notes": [*found.notes, _OTHER]})


def _selective(cases: Cases, predictions: pd.DataFrame, around: Around) -> Any:
    kind = "d" if f"d_{around.classes[0]}" in predictions.columns else "p"
    shares = _in_order(predictions, [f"{kind}_{name}" for name in around.classes])
    sure = shares[np.arange(len(shares)), cases.predicted]
    answers = Answers(cases.labels, cases.predicted, sure, cases.clusters)
    return selective_of(answers, around.classes, around.places, SURE[kind])


def _unlikeness(cases: Cases, predictions: pd.DataFrame, classes: Sequence[str]) -> Any:
    if "unlike" not in predictions.columns:
        return _NOT_KEPT
    return unlikeness_result(cases, _in_order(predictions, ["unlike"])[:, 0], classes)


def _in_order(predictions: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Columns of numbers in the order of cases: that of their ids."""
    ids = predictions["id"].astype(str)
    ordered = cast("pd.DataFrame", predictions.loc[ids.sort_values(kind="stable").index, columns])
    return ordered.to_numpy(dtype=np.float64)
