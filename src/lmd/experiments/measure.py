"""How sure a table is: the intervals of `evaluation.uncertainty`, over test cases and over trainings.

The variance of a mean over seeds has two parts: that of the test cases, and that of the trainings over their
number. All seeds and rows are tested on the same images, so that differences between rows are paired. With
one seed there is the first part alone, and the interval leaves out how far another training would lie.

On folds the answers of a seed's models, each on the fold that it was not trained on, are the cases of one
trial. Repeated folds make a trial of each repetition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lmd.evaluation.cases import Cases, measure, read_cases
from lmd.evaluation.intervals.differences import paired_difference
from lmd.evaluation.intervals.uncertainty import Measured, Sample, mean_of
from lmd.evaluation.results import Estimate
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
    decided = np.concatenate([cases.predicted for cases in parts.values()])
    return Cases(ids[order], labels[order], clusters[order], probabilities[order], decided[order])


def summary(samples: Samples, metric: str) -> Tree:
    """Returns the mean over the seeds, in percent, with its interval."""
    return _entry(_over_trials([found[metric] for found in samples.values()]).estimate(), list(samples))


def difference(first: Samples, second: Samples, metric: str) -> Tree | None:
    """Returns first - second over the seeds that both have, in percent; None where they have none."""
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return None
    mine, other = (_over_trials([row[trial][metric] for trial in shared]) for row in (first, second))
    return _entry(paired_difference(mine, other), shared)


def _over_trials(runs: Sequence[Measured]) -> Measured:
    """The mean over trials. Repeated splits test other images each time: their mean has no interval yet."""
    if all(_same_cases(runs[0].sample, run.sample) for run in runs[1:]):
        return mean_of(runs)
    reason = "no interval: the repeats were tested on different images"
    return replace(runs[0], value=float(np.mean([run.value for run in runs])), reason=reason, apart=reason)


def _same_cases(first: Sample, second: Sample) -> bool:
    return np.array_equal(first.labels, second.labels) and np.array_equal(first.clusters, second.clusters)


def _entry(estimate: Estimate, trials: Sequence[Trial]) -> Tree:
    """An estimate in percent, with the number of seeds behind it."""
    numbers = estimate.model_dump()
    shown = {name: None if share is None else round(100 * share, 6) for name, share in numbers.items()}
    return {**shown, "seeds": len({trial.seed for trial in trials})}
