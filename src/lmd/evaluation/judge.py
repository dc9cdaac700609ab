"""A run judged on a split: predict, measure, write both into the run folder."""

from __future__ import annotations

from pathlib import Path

from lmd.data.dataset.info import MANIFEST
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.errors import DataError
from lmd.evaluation.cases import cases_of, read_predictions
from lmd.evaluation.evaluate import evaluate
from lmd.evaluation.overlap import overlap_with_training
from lmd.evaluation.own import is_own
from lmd.evaluation.predict import load_model, pixels_for, predict_split, write_predictions
from lmd.evaluation.probabilities import fields_of, with_validation
from lmd.evaluation.results import Evaluation, OtherData, write_evaluation
from lmd.evaluation.wanted import NOTHING, Wanted
from lmd.files import is_file
from lmd.parallel import Steps, quiet
from lmd.run import RunFolder, read_identity


def evaluate_run(
    folder: RunFolder,
    split: str,
    data: Dataset | None = None,
    progress: Steps = quiet,
    allow_overlap: bool = False,
    wanted: Wanted = NOTHING,
) -> Evaluation:
    """Writes predictions-<split>.csv and evaluation-<split>.json of a run and returns the latter.

    Raises:
        CheckpointError: the run has no finished model.
        DataError: the data set is gone, has a class that the model does not know, has no such split, or has
            images that the run was trained on (without `allow_overlap`); or what is asked for cannot be had.
        SettingsError: what is asked for does not exist.
    """
    model = load_model(folder)
    understood = wanted.understood(model.classes, split)
    dataset = data or _recorded(folder)
    pixels = pixels_for(model, dataset, split)
    own = is_own(folder, model.card, dataset)
    overlap = overlap_with_training(folder, model.card, dataset, split, pixels, own=own, allow=allow_overlap)
    source = with_validation(folder, model, dataset if own else None)
    understood.check(source)
    file = folder.predictions(split)
    write_predictions(file, predict_split(model, dataset, split, progress, pixels))
    # The file has rounded probabilities. Whoever measures it must find what the evaluation says.
    table = read_predictions(file)
    result = evaluate(table, model.classes, model.card.bands, split)
    more = fields_of(cases_of(table, model.classes), source, model.card, split, understood)
    result = result.model_copy(update={"data": None if own else _named(dataset), "overlap": overlap} | more)
    write_evaluation(folder.evaluation(split), result)
    return result


def _recorded(run: RunFolder) -> Dataset:
    """The data set that the run was trained on.

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
