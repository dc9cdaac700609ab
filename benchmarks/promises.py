"""How often intervals and promises of docs/probabilities.md hold in simulation, where the truth is known.

    python -m benchmarks.promises [--only PART]   # benchmarks/results/probabilities

`expected`: PPV, NPV and specificity at stated shares; each image of a class is taken for the last one with a
given probability. `costs`: the mean cost of decisions, and the paired difference of two that agree on
about half of the images. `thresholds`: the certainty of a threshold for a sensitivity of .9 with 50 groups,
of which five have 4, 8 or 30 images that are alike. `clustered`: estimated shares, where validation images
lie in groups (`benchmarks.clustered`).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from benchmarks.clustered import Groups, shares_held
from benchmarks.coverage import ALIKE
from benchmarks.saved import write_parts
from lmd.evaluation.intervals.uncertainty import Sample
from lmd.evaluation.parts import Estimate
from lmd.evaluation.probability.costs import MeanCost
from lmd.evaluation.probability.expected import Alarms
from lmd.evaluation.probability.thresholds import threshold_for

# Of three classes: images, the share of each that is taken for the last, and the shares that are stated.
ALARMS = (
    ((1300, 220, 20), (0.02, 0.1, 0.8), (0.9, 0.08, 0.02)),
    ((1300, 220, 20), (0.002, 0.02, 0.5), (0.98, 0.015, 0.005)),
    ((200, 200, 12), (0.05, 0.2, 0.9), (0.5, 0.4, 0.1)),
    ((200, 50, 50), (0.01, 0.0, 0.95), (0.6, 0.3, 0.1)),
    ((60, 30, 8), (0.05, 0.1, 0.7), (0.7, 0.2, 0.1)),
    ((2000, 500, 300), (0.01, 0.05, 0.95), (0.9, 0.08, 0.02)),
)
DECISIONS = (
    ((1300, 220, 20), (0.9, 0.08, 0.02)),
    ((100, 30, 8), (1 / 3, 1 / 3, 1 / 3)),
    ((20, 20, 20), (0.8, 0.1, 0.1)),
    ((1300, 220, 20), (0.2, 0.3, 0.5)),
)
COSTS = np.array([[0, 1, 2], [3, 0, 1], [20, 5, 0.0]])
ONE = np.array([[0.9, 0.08, 0.02], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])  # Decisions by class.
OTHER = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.1, 0.5, 0.4]])
GROUPS, LARGE, WANTED = 50, 5, 0.9


def holds(found: Estimate, truth: float) -> bool | None:
    """Returns whether an interval holds the truth; None where there is no interval."""
    if found.low is None or found.high is None:
        return None
    return found.low <= truth <= found.high


def share(found: list[bool | None]) -> float | None:
    """Returns how often intervals hold the truth, of those that there are."""
    some = [one for one in found if one is not None]
    return float(np.mean(some)) if some else None


def expected_rows(samples: int = 400) -> Iterator[dict[str, Any]]:
    """Yields how often expected values are held, of each design."""
    random = np.random.default_rng(0)
    for images, rates, stated in ALARMS:
        taken, prior = np.array(rates), np.array(stated)
        labels, alarms = np.repeat(np.arange(3), images), prior * taken
        truth = {
            "ppv": alarms[2] / alarms.sum(),
            "npv": (prior * (1 - taken))[:2].sum() / (prior * (1 - taken)).sum(),
            "specificity": 1 - alarms[:2].sum() / prior[:2].sum(),
        }
        held: dict[str, list[bool | None]] = {name: [] for name in truth}
        for _ in range(samples):
            hits = random.random(len(labels)) < taken[labels]
            found = Alarms(labels, np.arange(len(labels)), hits, 2, 3)
            for name, value in truth.items():
                held[name].append(holds(getattr(found, name)(prior), value))
        yield {"images": images, "taken": rates, "shares": stated, "samples": samples,
               "held": {name: share(one) for name, one in held.items()}}  # fmt: skip


def costs_rows(samples: int = 800) -> Iterator[dict[str, Any]]:
    """Yields how often mean costs and their differences are held, of each design."""
    random = np.random.default_rng(0)
    for images, stated in DECISIONS:
        prior, labels = np.array(stated), np.repeat(np.arange(3), images)
        sample = Sample.of(labels, np.arange(len(labels)))
        truth, other = ((prior[:, None] * rates * COSTS).sum() for rates in (ONE, OTHER))
        held: dict[str, list[bool | None]] = {"cost": [], "difference": []}
        for _ in range(samples):
            first, second = (_decided(random, rates, labels) for rates in (ONE, OTHER))
            second = np.where(random.random(len(labels)) < 0.5, first, second)
            mine, its = (MeanCost.of(sample, one, COSTS, prior) for one in (first, second))
            held["cost"].append(holds(mine.estimate(), truth))
            held["difference"].append(holds(mine.less(its), 0.5 * (truth - other)))
        yield {"images": images, "shares": stated, "samples": samples,
               "held": {name: share(one) for name, one in held.items()}}  # fmt: skip


def _decided(random: np.random.Generator, rates: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A decision for each image [N], by the rates of its class."""
    steps = rates.cumsum(1)[labels]
    return (steps < random.random((len(labels), 1))).sum(1).clip(max=2)


def thresholds_rows(samples: int = 3000) -> Iterator[dict[str, Any]]:
    """Yields how often a threshold has the sensitivity that holds with a certainty of 95%, and the mean."""
    for large in (1, 4, 8, 30):
        random = np.random.default_rng(1)
        sizes = np.where(np.arange(GROUPS) < LARGE, large, 1)
        clusters = np.repeat(np.arange(GROUPS), sizes)
        kept, reached = [], []
        for _ in range(samples):
            own, shared = random.normal(size=len(clusters)), random.normal(size=GROUPS)[clusters]
            scores = math.sqrt(1 - ALIKE) * own + math.sqrt(ALIKE) * shared
            chosen = threshold_for(scores, clusters, WANTED)
            assert chosen.value is not None
            assert chosen.assured is not None
            sensitivity = NormalDist().cdf(-chosen.value)  # Of a random image of a new group.
            kept.append(sensitivity >= chosen.assured)
            reached.append(sensitivity)
        found = {"on average": float(np.mean(reached)), "held": float(np.mean(kept))}
        yield {"groups": GROUPS, "large groups": LARGE, "images of a large group": large,
               "samples": samples, "wanted": WANTED, **found}  # fmt: skip


# Groups of the validation images: how many, of how many images, and how alike these are.
GROUPED = (
    Groups(500), Groups(100), Groups(100, (1, 4), 0.5), Groups(100, (1, 4), 0.9), Groups(60, (8, 8), 0.5),
    Groups(60, (8, 8), 0.9), Groups(60, (1, 15), 0.5), Groups(60, (1, 15), 0.9), Groups(300, (1, 15), 0.9),
)  # fmt: skip


def clustered_rows(samples: int = 400) -> Iterator[dict[str, Any]]:
    """Yields how often estimated shares are held, with the groups of validation and without."""
    for groups in GROUPED:
        held = [shares_held(groups, Groups(2000), samples, by_group=known) for known in (False, True)]
        yield {**groups._asdict(), "samples": samples, "groups ignored": held[0], "held": held[1]}


PARTS: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    "expected": expected_rows,
    "costs": costs_rows,
    "thresholds": thresholds_rows,
    "clustered": clustered_rows,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulates the parts that were asked for, and writes a JSON file of each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/probabilities"))
    parser.add_argument("--only", choices=list(PARTS), action="append")
    asked = parser.parse_args(arguments)
    write_parts(asked.out, {name: PARTS[name]() for name in asked.only or PARTS})
    return 0


if __name__ == "__main__":
    sys.exit(main())
