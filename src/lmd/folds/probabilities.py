"""What an evaluation of folds says of their probabilities, with the validation images of all folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from lmd.data.dataset.folds_folder import Folds
from lmd.evaluation.cases import Cases, cases_of, read_predictions
from lmd.evaluation.probability.fields import fields_of
from lmd.evaluation.probability.source import Source
from lmd.evaluation.wanted import Understood
from lmd.folds.folder import FoldsRun
from lmd.model_card import ModelCard


def pooled_fields(
    run: FoldsRun, folds: Folds, names: Sequence[str], cases: Cases, card: ModelCard, asked: Understood
) -> dict[str, Any]:
    """Returns the fields of an evaluation of some folds together: what `fields_of` has of one run.

    Each fold has its own temperature, which stays in its probabilities.

    Raises:
        DataError: what was asked for needs validation images, and the folds have none.
    """
    source = Source(
        card.classes, card.outputs.prior, card.training_counts, _validation(run, folds, names, card)
    )
    asked.check(source)
    together = card.outputs.model_copy(update={"temperature": 1.0})
    return fields_of(cases, source, card.model_copy(update={"outputs": together}), "test", asked)


def _validation(run: FoldsRun, folds: Folds, names: Sequence[str], card: ModelCard) -> Cases | str:
    """The validation cases of all folds; an image may be in several, its group is that of the data set."""
    files = {name: run.folds[name].predictions("val") for name in names}
    if not all(file.is_file() for file in files.values()):
        return "not every fold has predictions of validation images"
    tables = [
        (table := read_predictions(file)).assign(group=table["id"].map(_groups(folds, name)))
        for name, file in files.items()
    ]
    return cases_of(pd.concat(tables, ignore_index=True), card.classes)


def _groups(folds: Folds, name: str) -> dict[str, str]:
    table = folds.datasets[name].table
    return dict(zip(table["id"], table["group"], strict=True))
