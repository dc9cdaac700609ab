"""What all runs of an experiment will do together, and how long that takes on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from lmd.experiments.request import Job
from lmd.experiments.reuse import ImageFiles, is_tested
from lmd.experiments.runs import Run, start_of
from lmd.planning import Plan, plan_of_run
from lmd.text import duration, in_columns, numbered
from lmd.training.progress import Watcher


@dataclass
class Group:
    """The runs of a row on a block's data that do the same but for the seed and the fold."""

    first: Run
    taken_over: bool
    """whether they begin with another run's first stage"""
    number: int = 0

    @cached_property
    def plan(self) -> Plan:
        """What one of them does; measured once for all."""
        return plan_of_run(
            self.first.dataset, self.first.row.method, self.first.settings, taken_over=self.taken_over
        )

    @property
    def seconds(self) -> float | None:
        """The seconds of all of them; None where they cannot be measured."""
        each = self.plan.seconds
        return None if each is None else each * self.number


def forecast(job: Job, wanted: Sequence[Run], runs: Sequence[Run], watcher: Watcher) -> list[str]:
    """Returns the lines of the plan: images, pixels, epochs, steps, device, and the time of all runs."""
    images = ImageFiles()
    left = [run for run in wanted if not is_tested(run, images) and not run.finished]
    if not left:
        return ["plan: nothing is left to train"]
    groups = _groups(left, runs)
    with watcher.steps("timing some steps of each row") as steps:
        for number, group in enumerate(groups, 1):
            _ = group.plan.seconds
            steps(number, len(groups))
    return [*_common(job, groups), *_rows(groups), _time(job, groups, len(left))]


def _groups(left: Sequence[Run], runs: Sequence[Run]) -> list[Group]:
    found: dict[tuple[str, str, bool], Group] = {}
    for place, run in enumerate(left):
        taken_over = _takes_over(run, left[:place], runs)
        group = found.setdefault((run.block, run.row.key, taken_over), Group(run, taken_over))
        group.number += 1
    return list(found.values())


def _takes_over(run: Run, earlier: Sequence[Run], runs: Sequence[Run]) -> bool:
    """Whether a run begins with the first stage of another, finished or of this call."""
    if not run.two_stages or run.stage1 is None:
        return False
    return start_of(run, runs) is not None or any(other.stage1 == run.stage1 for other in earlier)


def _common(job: Job, groups: Sequence[Group]) -> list[str]:
    """What all runs on a block's data share: images, pixels, batch, device."""
    lines: list[str] = []
    for block in job.data:
        mine = [group for group in groups if group.first.block == block]
        if mine:
            where = f" ({block})" if len(job.data) > 1 else ""
            lines += [f"plan{where}:", *(f"  {line}" for line in in_columns(mine[0].plan.facts()))]
    return lines


def _rows(groups: Sequence[Group]) -> list[str]:
    """The stages of each row, with the time of one run."""
    table = [["row", "runs", "each", "stages"]]
    for group in groups:
        each = group.plan.seconds
        taken = ["stage 1 of another run"] if group.taken_over else []
        legs = "; ".join([*taken, *(leg.told() for leg in group.plan.outline.legs)])
        time = "not known" if each is None else duration(each)
        table.append([f"{group.first.block}/{group.first.row.key}", str(group.number), time, legs])
    return in_columns(table)


def _time(job: Job, groups: Sequence[Group], number: int) -> str:
    known = [group.seconds for group in groups]
    total = duration(sum(seconds for seconds in known if seconds is not None))
    more = sum(group.number for group, seconds in zip(groups, known, strict=True) if seconds is None)
    without = f", {numbered(more, 'run')} without a known time left out" if more else ""
    share = "; --jobs shares the same cores among the runs" if job.request.jobs != 1 else ""
    return (
        f"time: about {total} on this machine for {numbered(number, 'run')}, one after "
        f"another{without}; decoding apart{share}"
    )
