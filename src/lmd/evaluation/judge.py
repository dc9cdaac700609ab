"""A run judged on a split: predict, measure, write both into the run folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lmd.data.dataset.info import MANIFEST
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.errors import DataError
from lmd.evaluation.answers import write_predictions
from lmd.evaluation.cases import cases_of, read_predictions
from lmd.evaluation.evaluate import evaluate
from lmd.evaluation.further import NOTHING, Around, Further, further
from lmd.evaluation.leaks.overlap import overlap_with_training
from lmd.evaluation.leaks.own import is_own
from lmd.evaluation.predict import load_model, pixels_for, predict_split
from lmd.evaluation.probability.fields import fields_of, with_validation
from lmd.evaluation.results import Evaluation, OtherData, write_evaluation
from lmd.files import is_file
from lmd.parallel import Steps, quiet
from lmd.run import RunFolder, read_identity


def evaluate_run(
    folder: RunFolder,
    split: str,
    data: Dataset | None = None,
    progress: Steps = quiet,
    allow_overlap: bool = False,
    asked: Further = NOTHING,
) -> Evaluation:
    """Writes predictions-<split>.csv and evaluation-<split>.json of a run and returns the latter.

    On another data set than the run's own the names have `-on-` and its hash after the split.

    Where images come in groups, predictions-<split>-groups.csv has an answer for each group.

    Raises:
        CheckpointError: the run has no finished model.
        DataError: the data set is gone, has a class that the model does not know, has no such split, or has
            images that the run was trained on (without `allow_overlap`), or a column that cannot be used; or
            what is wanted needs validation images that the run has not.
        SettingsError: the data set has no such column, no set can have such a coverage, or what is wanted
            does not exist.
    """
    model = load_model(folder)
    dataset = data or recorded(folder)
    asked.columns(list(dataset.table.columns))  # What is wrong with it is told before the long work.
    wanted = asked.wanted.understood(model.classes, split)
    pixels = pixels_for(model, dataset, split)
    own = is_own(folder, model.card, dataset)
    overlap = overlap_with_training(folder, model.card, dataset, split, pixels, own=own, allow=allow_overlap)
    source = with_validation(folder, model, dataset if own else None)
    wanted.check(source)
    file = folder.predictions(split, "" if own else dataset.info.manifest_sha256)
    write_predictions(file, predict_split(model, dataset, split, progress, pixels))
    # The file has rounded probabilities. Whoever measures it must find what the evaluation says.
    table = read_predictions(file)
    result = evaluate(table, model.classes, model.card.bands, split)
    known = {"data": None if own else _named(dataset), "overlap": overlap}
    found = fields_of(cases_of(table, model.classes), source, model.card, split, wanted)
    result = result.model_copy(update=known | found)
    around = Around(split, model.classes, model.card.bands, source.validation, dataset.split(split), own)
    return write_judged(folder, *further(result, table, around, asked))


def write_judged(folder: RunFolder, result: Evaluation, groups: pd.DataFrame | None) -> Evaluation:
    """Writes an evaluation, and the predictions by group or none, and returns the evaluation."""
    file = folder.predictions_by_group(result.split, result.on)
    if groups is None:
        file.unlink(missing_ok=True)
    else:
        write_predictions(file, groups)
    write_evaluation(folder.evaluation(result.split, result.on), result)
    return result


def recorded(run: RunFolder) -> Dataset:
    """Returns the data set that the run was trained on.

    Raises:
        DataError: it is no longer there.
    """
    folder = Path(read_identity(run)["data"])
    if not is_file(folder / MANIFEST):
        raise DataError(
            f"the data set of {run.path} is no longer at {folder}: name the folder with --data DIR"
        )
    return read_dataset(folder)


def _named(dataset: Dataset) -> OtherData:
    return OtherData(title=dataset.info.title, manifest_sha256=dataset.info.manifest_sha256)
