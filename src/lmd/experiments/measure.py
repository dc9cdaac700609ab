"""How sure a table is: the bootstrap over test cases of `evaluation.uncertainty`, and one over seeds.

In each of the draws the test groups (lesions, patients) are drawn with replacement within their classes, and
the seeds are drawn with replacement. All seeds and rows are tested on the same images, so that a draw of
cases is the same for all of them: differences between rows are then paired. With one seed the cases alone
vary. A bootstrap over S seeds sees (S - 1) / S of their variance; with two or three it is a lower bound.

On folds the answers of a seed's models, each on the fold that it was not trained on, are the cases of one
trial. Repeated folds make a trial of each repetition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lmd.evaluation.cases import Cases, measure, read_cases
from lmd.evaluation.results import Estimate
from lmd.evaluation.uncertainty import Measured, paired_difference
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
    return _entry(_over_trials([found[metric] for found in samples.values()]).estimate(), list(samples))


def difference(first: Samples, second: Samples, metric: str) -> Tree | None:
    """Returns first - second over the seeds that both have, in percent; None where they have none."""
    shared = sorted(first.keys() & second.keys())
    if not shared:
        return None
    mine, other = (_over_trials([row[trial][metric] for trial in shared]) for row in (first, second))
    return _entry(paired_difference(mine, other), shared)


def _over_trials(runs: Sequence[Measured]) -> Measured:
    """The mean over seeds drawn with replacement; the same seeds for every metric and row."""
    draws = np.stack([run.draws for run in runs])
    seeds, number = draws.shape
    chosen = np.random.default_rng(seeds).integers(0, seeds, (seeds, number))
    value = float(np.mean([run.value for run in runs]))
    return Measured(value, draws[chosen, np.arange(number)].mean(0))


def _entry(estimate: Estimate, trials: Sequence[Trial]) -> Tree:
    """An estimate in percent, with the number of seeds behind it."""
    numbers = estimate.model_dump()
    shown = {name: None if share is None else round(100 * share, 6) for name, share in numbers.items()}
    return {**shown, "seeds": len({trial.seed for trial in trials})}
