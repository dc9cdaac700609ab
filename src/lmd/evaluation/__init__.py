"""Judging a model: predictions, metrics, intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lmd.errors import DataError
from lmd.evaluation.evaluate import evaluate as _evaluate
from lmd.evaluation.probability.metrics import check_probabilities
from lmd.evaluation.results import Evaluation
from lmd.text import numbered

__all__ = ["Evaluation", "measure"]


def measure(
    labels: Any,
    probabilities: Any,
    groups: Any = None,
    *,
    classes: Sequence[str] | None = None,
    bands: Mapping[str, Sequence[str]] | None = None,
    predicted: Any = None,
    split: str = "test",
) -> Evaluation:
    """Returns every metric of some predictions with its 95% interval; no files are needed.

    The numbers are those of `lmd.evaluate` on the same cases in the same order.

    Args:
        labels: the true class of each case, 0 to K-1: [N].
        probabilities: of each case and class: [N, K]; arrays, lists, or tensors on the CPU.
        groups: which cases belong together (one patient, one lesion): [N]; they count together.
        classes: the names of the classes, in the order of the columns (default: "0", "1", ...).
        predicted: the class that was decided for, 0 to K-1: [N] (default: the largest probability).
        bands: names of classes by frequency band, such as {"head": [...], "tail": [...]}.
        split: what the cases are called in the result.

    Raises:
        DataError: the parts do not fit together, or are no labels or probabilities.

    >>> result = measure([0, 0, 0, 1], [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
    >>> round(result.metrics["bacc"].value, 4), result.confusion
    (0.8333, [[2, 1], [0, 1]])
    """
    shares, truth = _array(probabilities).astype(np.float64), _array(labels)
    check_probabilities(shares)
    names = [str(k) for k in (range(shares.shape[1]) if classes is None else classes)]
    _check_labels(truth, shares, names)
    decided = None if predicted is None else _array(predicted)
    if decided is not None:
        _check_labels(decided, shares, names, "predicted classes")
    members = np.arange(len(truth)) if groups is None else np.asarray(groups)
    if members.shape != truth.shape:
        raise DataError(f"there are {len(truth)} labels, but groups of shape {members.shape}")
    if len(missing := np.flatnonzero(pd.isna(members))):
        raise DataError(
            f"case {missing[0]} has no group ({numbered(len(missing), 'such case')}): name one for each"
        )
    table = pd.DataFrame(shares, columns=[f"p_{name}" for name in names])
    table = table.assign(
        id=[f"{row:012d}" for row in range(len(truth))], label=np.array(names)[truth], group=members
    )
    if decided is not None:
        table = table.assign(predicted=np.array(names)[decided])
    by_band = {band: list(some) for band, some in (bands or {}).items()}
    if unknown := [name for some in by_band.values() for name in some if name not in names]:
        raise DataError(f"a band has the class '{unknown[0]}', which is none of {names}")
    return _evaluate(table, names, by_band, split)


def _array(values: Any) -> np.ndarray:
    """An array of what may be a tensor with a gradient."""
    return np.asarray(values.detach() if hasattr(values, "detach") else values)


def _check_labels(
    labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str], what: str = "labels"
) -> None:
    cases, num_classes = probabilities.shape
    if labels.shape != (cases,):
        raise DataError(f"there are probabilities of {cases} cases, but {what} of shape {labels.shape}")
    if len(set(names)) != num_classes or len(names) != num_classes:
        raise DataError(f"there are probabilities of {num_classes} classes, but the names are {names}")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(f"{what} must be whole numbers from 0 to {num_classes - 1}")
