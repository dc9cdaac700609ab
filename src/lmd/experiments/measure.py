"""How sure a table is: the bootstrap over test cases of `evaluation.uncertainty`, and one over seeds.

In each of the draws the test groups (lesions, patients) are drawn with replacement within their classes, and
the seeds are drawn with replacement. All seeds and rows are tested on the same images, so that a draw of
cases is the same for all of them: differences between rows are then paired. With one seed the cases alone
vary. A bootstrap over S seeds sees (S - 1) / S of their variance; with two or three it is a lower bound.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmd.evaluation.cases import Cases, measure, read_cases
from lmd.evaluation.results import Estimate
from lmd.evaluation.uncertainty import Measured, paired_difference
from lmd.settings import Tree

__all__ = ["Cases", "Measured", "Samples", "difference", "measure", "read_cases", "summary", "verdict"]

# Of one row: by seed, then by metric.
Samples = dict[int, dict[str, Measured]]


def summary(samples: Samples, metric: str) -> Tree:
    """Returns the mean over the seeds, in percent, with its interval."""
    per_seed = [seed[metric] for seed in samples.values()]
    return _entry(_over_seeds(per_seed).estimate(), len(per_seed))


def difference(first: Samples, second: Samples, metric: str) -> Tree | None:
    """Returns first - second over the seeds that both have, in percent; None where they have none."""
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    mine, other = (_over_seeds([row[seed][metric] for seed in seeds]) for row in (first, second))
    return _entry(paired_difference(mine, other), len(seeds))


def _over_seeds(runs: Sequence[Measured]) -> Measured:
    """The mean over seeds drawn with replacement; the same seeds for every metric and row."""
    draws = np.stack([run.draws for run in runs])
    seeds, number = draws.shape
    chosen = np.random.default_rng(seeds).integers(0, seeds, (seeds, number))
    value = float(np.mean([run.value for run in runs]))
    return Measured(value, draws[chosen, np.arange(number)].mean(0))


def _entry(estimate: Estimate, seeds: int) -> Tree:
    """An estimate in percent."""
    numbers = estimate.model_dump()
    shown = {name: None if share is None else round(100 * share, 6) for name, share in numbers.items()}
    return {**shown, "seeds": seeds}


def verdict(entry: Tree) -> str:
    """Says what a difference shows, in one word or three.

    >>> verdict({"value": 2.0, "low": 0.5, "high": 3.0}), verdict({"value": 2.0, "low": -0.5, "high": 3.0})
    ('higher', 'not told apart')
    """
    if entry["value"] is None:
        return "undefined"
    if entry["low"] > 0:
        return "higher"
    return "lower" if entry["high"] < 0 else "not told apart"
