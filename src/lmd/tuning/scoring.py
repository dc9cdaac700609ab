"""What a trial is worth: the smoothed balanced accuracy of its decisions on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lmd.errors import CheckpointError
from lmd.evaluation.cases import cases_of, read_predictions
from lmd.evaluation.probability.decisions import log_prior, logits_of, sureness, width_of
from lmd.folds.folder import FoldsRun
from lmd.run import RunFolder, read_model_card


class Scored(NamedTuple):
    """The validation images of one trial, those of all folds together, and the score."""

    score: float
    each: np.ndarray
    """of each image how surely it is right, from 0 to 1 [N]"""
    labels: np.ndarray
    clusters: np.ndarray


def score_of(run: RunFolder) -> Scored:
    """Returns what a finished run, or a run on folds, is worth on validation: of folds the mean of theirs.

    Raises:
        CheckpointError: it has no predictions on validation images.
    """
    folds = run.folds if isinstance(run, FoldsRun) else {"": run}
    parts = [_one(folder) for folder in folds.values()]
    scores = [_mean_of_classes(each, table["label"].to_numpy()) for each, table in parts]
    tables = [table.assign(fold=name) for (_, table), name in zip(parts, folds, strict=True)]
    labels = pd.concat(tables, ignore_index=True)["label"].to_numpy()
    return Scored(
        float(np.mean(scores)), np.concatenate([each for each, _ in parts]), labels, clusters_of(tables)
    )


def _one(run: RunFolder) -> tuple[np.ndarray, pd.DataFrame]:
    """How surely each validation image of one run is right, and its id, class (as a number) and group."""
    file = run.predictions("val")
    if not file.is_file():
        raise CheckpointError(f"{run.path} has no predictions on validation images ({file.name})")
    card = read_model_card(run)
    cases = cases_of(read_predictions(file), card.classes)
    logits = logits_of(cases.probabilities, card.outputs.temperature)
    shifted = logits - card.outputs.tau * log_prior(np.array(card.training_counts))
    table = pd.DataFrame({"id": cases.ids, "label": cases.labels, "group": cases.clusters})
    return sureness(shifted, cases.labels, width_of(logits)), table


def _mean_of_classes(each: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([each[labels == k].mean() for k in np.unique(labels)]))


def clusters_of(tables: Sequence[pd.DataFrame]) -> np.ndarray:
    """Returns of each row a number: the same for images of one group, and for one image in several folds.

    Groups are numbered anew in each fold. So two groups are one where they share an image.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    every: Any = pd.concat(tables, ignore_index=True)
    images, names = pd.factorize(every["id"])
    groups = pd.factorize(every["fold"] + "/" + every["group"].astype(str))[0] + len(names)
    size = int(groups.max()) + 1
    joined = coo_array((np.ones(len(images)), (images, groups)), shape=(size, size))
    return np.asarray(connected_components(joined, directed=False)[1])[images]
