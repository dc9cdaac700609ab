"""What is known of a run's probabilities: the prior that they imply, and validation cases that may tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmd.errors import DataError
from lmd.evaluation.cases import Cases, cases_of, read_predictions
from lmd.evaluation.probability.priors import Declared, shares_of
from lmd.evaluation.results import read_evaluation
from lmd.model_card import ModelCard
from lmd.run import RunFolder

_MAKE = "'lmd evaluate RUN --split val' makes them"
_NONE = f"the run has no predictions of validation images: {_MAKE}"
_OTHER = f"the run's predictions of validation images are of another data set: {_MAKE} anew"
OF_SEVERAL = "the mean of several models has no predictions of validation images"


@dataclass(frozen=True)
class Source:
    """What is known of a model's probabilities: what they imply, and the cases that may tell."""

    classes: Sequence[str]
    declared: Declared
    counts: Sequence[int]
    validation: Cases | str
    """or in words why there are none"""

    @property
    def training(self) -> np.ndarray:
        """The shares of the training images [K]."""
        return shares_of(np.array(self.counts))


def source_of(folder: RunFolder | None, card: ModelCard) -> Source:
    """Returns what is known of a run's probabilities: the prior that they imply, and its validation cases.

    The mean of several runs has no folder, and no such cases.

    Raises:
        DataError: the predictions on validation are damaged.
    """
    validation = OF_SEVERAL if folder is None else validation_cases(folder, card.classes)
    return Source(card.classes, card.outputs.prior, card.training_counts, validation)


def validation_cases(folder: RunFolder, classes: list[str]) -> Cases | str:
    """Returns the cases of a run's predictions of validation images, or in words why there are none.

    Raises:
        DataError: the file was changed, or is of other classes.
    """
    file, evaluation = folder.predictions("val"), folder.evaluation("val")
    if not file.is_file():
        return _NONE
    if evaluation.is_file() and read_evaluation(evaluation).data is not None:
        return _OTHER
    try:
        return cases_of(read_predictions(file), classes)
    except (KeyError, ValueError) as error:
        raise DataError(f"{file} does not hold predictions of this run's classes: {error}") from error
