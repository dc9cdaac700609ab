"""How sure a table is: the intervals of `evaluation.uncertainty` for the mean over seeds.

All seeds and rows are tested on the same images, so that differences between rows are paired. With one seed
the images alone vary. With several the variance of their mean counts too, by as much as the seeds show.

On folds the answers of a seed's models, each on the fold that it was not trained on, are the cases of one
trial. Repeated folds make a trial of each repetition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lmd.evaluation.cases import Cases, measure, read_cases
from lmd.evaluation.results import Estimate
from lmd.evaluation.uncertainty import Measured, mean_of, paired_difference
from lmd.settings import Tree

__all__ = [
    "Cases", "Measured", "Samples", "Trial", "difference", "measure", "pooled", "read_cases", "summary"
]  # fmt: skip


class Trial(NamedTuple):
    """What is repeated: a seed, and of repeated folds the repetition."""

    seed: int
    repeat: str = ""


# Of one row: by trial, then by metric.
Samples = dict[Trial, dict[str, Measured]]


def pooled(parts: Mapping[str, Cases]) -> Cases:
    """Returns the cases of several folds as those of one test; groups of different folds are different."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    ids = np.concatenate([cases.ids for cases in parts.values()])
    clusters = np.concatenate(
        [[f"{name}/{group}" for group in cases.clusters] for name, cases in parts.items()]
    )
    labels = np.concatenate([cases.labels for cases in parts.values()])
    probabilities = np.concatenate([cases.probabilities for cases in parts.values()])
    order = np.argsort(ids.astype(str), kind="stable")
    return Cases(ids[order], labels[order], clusters[order], probabilities[order])


def summary(samples: Samples, metric: str) -> Tree:
    """Returns the mean over the seeds, in percent, with its interval."""
    return _entry(mean_of([found[metric] for found in samples.values()]).estimate(), list(samples))


def difference(first: Samples, second: Samples, metric: str) -> Tree | None:
    """Returns first - second over the seeds that both have, in percent; None where they have none."""
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return None
    mine, other = (mean_of([row[trial][metric] for trial in shared]) for row in (first, second))
    return _entry(paired_difference(mine, other), shared)


def _entry(estimate: Estimate, trials: Sequence[Trial]) -> Tree:
    """An estimate in percent, with the number of seeds behind it."""
    numbers = estimate.model_dump()
    shown = {name: None if share is None else round(100 * share, 6) for name, share in numbers.items()}
    return {**shown, "seeds": len({trial.seed for trial in trials})}
