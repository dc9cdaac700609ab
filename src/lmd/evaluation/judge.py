"""A run judged on a split: predict, measure, write both into the run folder."""

from __future__ import annotations

from pathlib import Path

from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.evaluation.cases import read_predictions
from lmd.evaluation.evaluate import evaluate
from lmd.evaluation.predict import load_model, predict_split, write_predictions
from lmd.evaluation.results import Evaluation, write_evaluation
from lmd.parallel import Steps, quiet
from lmd.run import RunFolder, read_identity


def evaluate_run(
    folder: RunFolder,
    split: str,
    data: Dataset | None = None,
    progress: Steps = quiet,
) -> Evaluation:
    """Writes predictions-<split>.csv and evaluation-<split>.json of a run and returns the latter.

    Raises:
        CheckpointError: the run has no finished model.
        DataError: the data set is gone, has other classes, or has no such split.
    """
    model = load_model(folder)
    dataset = data or read_dataset(Path(read_identity(folder)["data"]))
    file = folder.predictions(split)
    write_predictions(file, predict_split(model, dataset, split, progress))
    # The file has rounded probabilities. Whoever measures it must find what the evaluation says.
    result = evaluate(read_predictions(file), model.classes, model.card.bands, split)
    write_evaluation(folder.evaluation(split), result)
    return result
