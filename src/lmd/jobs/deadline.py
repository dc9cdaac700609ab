"""How long tasks take, by those that have ended, and whether one can still end in time."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

from lmd.errors import SettingsError
from lmd.jobs.tasks import Done, Task

# Of all seconds, and at most so many: kept for ending what still runs and for writing the table.
_RESERVED, _MOST_RESERVED = 0.1, 20.0


def check_deadline(seconds: float | None) -> None:
    """Refuses a time in which nothing can be done.

    Raises:
        SettingsError: it is not above zero.

    >>> check_deadline(60.0)
    """
    if seconds is not None and not seconds > 0:
        raise SettingsError(f"--deadline {seconds:g}: it must be above 0 seconds")


@dataclass
class Deadline:
    """The moment when nothing may run any more, on the clock that `time.monotonic` reads."""

    at: float
    paces: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """by kind of task: the seconds that a unit of work took"""

    @classmethod
    def after(cls, seconds: float, begun: float) -> Deadline:
        """Returns the deadline so many seconds after a beginning; a part is kept for what follows."""
        return cls(begun + seconds - min(_RESERVED * seconds, _MOST_RESERVED))

    def note(self, done: Done) -> None:
        """Learns from a task that went well."""
        if done.code == 0:
            self.paces.setdefault(done.task.kind, []).append(done.seconds / _units(done.task))

    def expected(self, task: Task) -> float | None:
        """Returns the seconds that a task will take: by those of its kind, else by all; None before any."""
        known = self.paces.get(task.kind) or [pace for paces in self.paces.values() for pace in paces]
        return statistics.median(known) * _units(task) if known else None

    def allows(self, task: Task) -> bool:
        """Returns whether a task may begin now; where nothing is known, one tries."""
        return time.monotonic() + (self.expected(task) or 0.0) < self.at

    @property
    def over(self) -> bool:
        """Whether nothing may run any more."""
        return time.monotonic() >= self.at


def _units(task: Task) -> float:
    return max(task.work * task.left, 1e-9)
