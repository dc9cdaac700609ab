"""The predictions of finished runs: those in the run folder, or on another data set."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from lmd.comparing.runs import Finished
from lmd.data.dataset.folds_folder import Folds, by_repeat
from lmd.data.dataset.manifest import Dataset
from lmd.errors import DataError
from lmd.evaluation.cases import read_predictions
from lmd.evaluation.leaks.overlap import overlap_with_training
from lmd.evaluation.leaks.own import is_own
from lmd.evaluation.predict import pixels_for, predict_split
from lmd.evaluation.results import read_evaluation
from lmd.folds.either import evaluate_either, load_either
from lmd.folds.folder import FoldsRun
from lmd.parallel import Steps
from lmd.spreadsheet import guarded_table, unguarded_table


@dataclass(frozen=True)
class Answers:
    """What a run predicts: a table for each repeat of its folds, or one; and on which data."""

    run: Finished
    tables: dict[str, pd.DataFrame]
    data: str
    """title of the data set"""
    averaged: bool = False
    """whether the mean of several folds' models answered"""


def own_answers(run: Finished, split: str, progress: Steps) -> Answers:
    """Returns the predictions that lie in a run folder, after making them where there are none.

    Raises:
        DataError, CheckpointError, SettingsError: they cannot be made, as `lmd evaluate` says.
    """
    file = run.folder.predictions(split)
    if not file.is_file():
        evaluate_either(run.folder, split, None, progress, False)
    table, other = read_predictions(file), _other_data(run, split)
    title = run.card.dataset.title if other is None else other
    if "fold" not in table:
        return Answers(run, {"": table}, title, averaged=isinstance(run.folder, FoldsRun))
    repeats = by_repeat(list(dict.fromkeys(table["fold"])))
    return Answers(run, {_repeat(names): _of_folds(table, names) for names in repeats}, title)


def _other_data(run: Finished, split: str) -> str | None:
    """The data set that the predictions in a run folder are of, where it is not the run's own."""
    file = run.folder.evaluation(split)
    found = read_evaluation(file) if file.is_file() else None
    return None if found is None or found.data is None else found.data.title


def _repeat(names: list[str]) -> str:
    return names[0].split("/")[0] if names[0].startswith("repeat") else ""


def _of_folds(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return cast("pd.DataFrame", table[table["fold"].isin(names)].reset_index(drop=True))


def answers_on(
    run: Finished, data: Dataset | Folds, split: str, allow_overlap: bool, progress: Steps
) -> Answers:
    """Returns the predictions on another data set; the run folder is left as it is.

    Raises:
        DataError: the data set has folds or other classes, or images that the run was trained on.
    """
    if isinstance(data, Folds):
        raise DataError(f"{data.folder} has folds: name one dataset folder, such as {data.first.folder}")
    several = isinstance(run.folder, FoldsRun)
    model = load_either(run.folder, several)
    pixels = pixels_for(model, data, split)
    first, *others = run.folder.folds.values() if isinstance(run.folder, FoldsRun) else [run.folder]
    own = not several and is_own(first, model.card, data)
    card = next(iter(run.models.values()))
    overlap_with_training(first, card, data, split, pixels, own=own, allow=allow_overlap, also=others)
    table = predict_split(model, data, split, progress, pixels)
    return Answers(run, {"": as_written(table)}, data.info.title, averaged=several)


def as_written(table: pd.DataFrame) -> pd.DataFrame:
    """Returns predictions as whoever reads their file finds them, with rounded probabilities."""
    text: Any = guarded_table(table).to_csv(index=False, float_format="%.9g")
    return unguarded_table(pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False))
