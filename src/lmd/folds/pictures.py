"""The pictures of a folds run: the worst mistakes over all folds, each as the model of its fold sees it."""

from __future__ import annotations

from lmd.data.dataset.folds_folder import Folds, by_repeat
from lmd.errors import DataError
from lmd.evaluation.results import read_evaluation
from lmd.folds.evaluate import TEST, own_folds
from lmd.folds.folder import FoldsRun
from lmd.reporting.pictures import Pictures, pictures_from
from lmd.reporting.scene import scene_of


def pictures_of_folds(run: FoldsRun, data: Folds | None = None) -> Pictures:
    """Returns the pictures of the answers that each fold gave to its test images; of repeats the first.

    Raises:
        CheckpointError: a fold has not finished.
        DataError: the folds are gone or are others, or their test images were not predicted.
    """
    folds, file = own_folds(run, data), run.evaluation(TEST)
    if not file.is_file():
        raise DataError(f"{run.path} was not measured on its folds: run 'lmd evaluate {run.path}' first")
    if read_evaluation(file).data is not None:
        raise DataError(
            f"{run.path} was last measured on another data set, by the mean of its models: run "
            f"'lmd evaluate {run.path}' first"
        )
    tested = [name for name, dataset in folds.datasets.items() if len(dataset.split(TEST))]
    first = by_repeat(tested)[0]
    scenes = [scene_of(run.folds[name], folds.datasets[name], TEST, False) for name in first]
    return pictures_from(scenes, TEST)
