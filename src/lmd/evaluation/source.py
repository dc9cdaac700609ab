"""What is known of a run's probabilities: the prior that they imply, and validation cases that may tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmd.evaluation.cases import Cases, cases_of, read_predictions
from lmd.evaluation.priors import Declared, shares_of
from lmd.evaluation.results import read_evaluation
from lmd.model_card import ModelCard
from lmd.run import RunFolder


@dataclass(frozen=True)
class Source:
    """What is known of a model's probabilities: what they imply, and the cases that may tell."""

    classes: Sequence[str]
    declared: Declared
    counts: Sequence[int]
    validation: Cases | None

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
    validation = None if folder is None else _validation(folder, card)
    return Source(card.classes, card.outputs.prior, card.training_counts, validation)


def _validation(folder: RunFolder, card: ModelCard) -> Cases | None:
    """The validation cases of a run; None where they are missing, or those of another data set."""
    file, evaluation = folder.predictions("val"), folder.evaluation("val")
    if not file.is_file() or (evaluation.is_file() and read_evaluation(evaluation).data is not None):
        return None
    return cases_of(read_predictions(file), card.classes)
