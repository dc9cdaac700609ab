"""Which run comes first: what tells most, what others wait for, and what takes longest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from lmd.errors import CheckpointError
from lmd.experiments.runs import Run, start_of
from lmd.planning.outline import left_of, outline
from lmd.run import read_identity

_CLASSIFIER = 0.01  # Of a step through the whole network: a step of the classifier alone.


def source_of(run: Run, runs: Sequence[Run], left: Sequence[Run]) -> Run | None:
    """Returns the run that has to end before this one may begin: it trains the first stage of both.

    `left` has the order of the table, so that it is the same run whatever begins first.
    """
    if run.begun or run.stage1 is None or not run.two_stages or start_of(run, runs) is not None:
        return None
    earlier = left[: left.index(run)]
    return next((other for other in earlier if other.stage1 == run.stage1), None)


def sources_of(left: Sequence[Run], runs: Sequence[Run]) -> dict[str, Run]:
    """Returns by the name of a run the one that it waits for; runs that wait for none are not in it."""
    found = {run.name: source_of(run, runs, left) for run in left}
    return {name: source for name, source in found.items() if source is not None}


@dataclass(frozen=True)
class Cost:
    """What a run has to do; runs of one kind take equally long."""

    kind: str
    work: float
    """the pixels that its steps see; those of the classifier alone are nearly free"""
    left: float
    """the share that is not done, by its epochs"""


def in_order(left: Sequence[Run], waits: Mapping[str, Run], costs: Mapping[str, Cost]) -> list[Run]:
    """Returns runs in the order in which they begin.

    Each row's first seed comes before anyone's second: a table with all rows and one seed says more than one
    with half of the rows and all seeds. Of a seed, what others wait for is first, then what takes longest.
    """
    awaited = {source.name for source in waits.values()}

    def rank(run: Run) -> tuple[int, bool, float]:
        cost = costs[run.name]
        return run.seed, run.name not in awaited, -cost.work * cost.left

    return sorted(left, key=rank)


def cost_of(run: Run, runs: Sequence[Run], waits: bool) -> Cost:
    """Returns what a run has to do; one that `waits` takes its first stage over."""
    taken_over = waits or _began_with_another(run) or start_of(run, runs) is not None
    legs = outline(run.dataset, run.row.method, run.settings, taken_over).legs
    area = run.settings.size**2
    once = int(run.dataset.counts("train").sum()) * area  # Each run looks at its images once at least.
    seen = area * run.settings.batch * sum(leg.steps + _CLASSIFIER * leg.classifier_steps for leg in legs)
    kind = f"{run.block}/{run.row.key}{'/second stage' if taken_over else ''}"
    return Cost(kind, once + seen, left_of(run.folder, legs))


def _began_with_another(run: Run) -> bool:
    """Whether a run that has begun did so with the first stage of another."""
    with suppress(CheckpointError):
        return run.begun and run.two_stages and read_identity(run.folder)["from_sha256"] is not None
    return False
