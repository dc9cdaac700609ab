"""What an evaluation says of a run's probabilities, and the validation cases that it rests on."""

from __future__ import annotations

from typing import Any

import numpy as np

from lmd.data.dataset.manifest import Dataset
from lmd.evaluation.answers import write_predictions
from lmd.evaluation.cases import Cases, cases_of
from lmd.evaluation.predict import Model, predict_split
from lmd.evaluation.probability.at_prior import prior_of, thresholds_of
from lmd.evaluation.probability.quality import probabilities_of
from lmd.evaluation.probability.source import Source, source_of
from lmd.evaluation.wanted import Understood
from lmd.model_card import ModelCard
from lmd.run import RunFolder


def with_validation(folder: RunFolder, model: Model, own: Dataset | None) -> Source:
    """Returns what `source_of` does; a run of an earlier version predicts its validation images for it.

    `own` is the data set that the run was trained on, where it is at hand.
    """
    found = source_of(folder, model.card)
    if isinstance(found.validation, str) and own is not None and not own.split("val").empty:
        table = predict_split(model, own, "val")
        if not folder.predictions("val").is_file():
            write_predictions(folder.predictions("val"), table)
        cases = cases_of(table, model.card.classes)
        return Source(found.classes, found.declared, found.counts, cases)
    return found


def fields_of(cases: Cases, source: Source, card: ModelCard, split: str, asked: Understood) -> dict[str, Any]:
    """Returns the fields of an evaluation: its probabilities, and the prior and thresholds asked for.

    Raises:
        DataError: what was asked for needs a validation that there is not.
    """
    clusters = np.asarray(cases.clusters)
    prior = None if asked.prior is None else asked.prior.resolved(source, cases.probabilities, clusters)
    return {
        "probabilities": probabilities_of(cases, source, card.bands, split, card.outputs.temperature),
        "prior": None if prior is None else prior_of(cases, source, prior),
        "thresholds": thresholds_of(cases, source, asked, prior),
    }
