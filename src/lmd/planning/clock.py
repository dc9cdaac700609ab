"""The time left of a whole run: rehearsed at first, then corrected by what the run itself takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lmd.planning.outline import Leg
from lmd.planning.rehearsal import Pace

CORRECTED_AFTER = 10  # Steps of a run after which its own pace counts.


@dataclass
class _Running:
    """A stage as the clock knows it."""

    leg: Leg
    pace: Pace | None  # As rehearsed.
    done: int = 0  # Epochs.
    spans: list[float] = field(default_factory=list[float])  # Seconds of the epochs that were timed.
    early: float | None = None  # Seconds of an epoch, from the steps of an unfinished one.

    def epoch(self) -> float | None:
        """The seconds of an epoch: measured, where one was, else rehearsed."""
        if self.spans:
            return sum(self.spans) / len(self.spans)
        return self.early if self.early is not None else self.pace and self.pace.epoch

    def ratio(self) -> float | None:
        """How much slower than in the rehearsal the stage is; None before that is known."""
        own = self.epoch() if self.spans or self.early is not None else None
        return own / self.pace.epoch if own and self.pace and self.pace.epoch else None

    @property
    def known(self) -> bool:
        """Whether steps tell nothing new: one epoch is timed, or steps of two kinds make an epoch."""
        two_kinds = bool(self.leg.steps and self.leg.classifier_steps)
        return two_kinds or bool(self.spans) or self.early is not None

    def left(self) -> float | None:
        """The seconds of the epochs that are not done."""
        epoch = self.epoch()
        before = self.pace.before if self.pace and not self.done else 0.0
        return None if epoch is None else before + epoch * (self.leg.epochs - self.done)


class Clock:
    """Keeps the time left of all stages of a run. `now` gives seconds, and is another in tests."""

    def __init__(
        self, legs: Sequence[Leg], paces: Sequence[Pace] | None, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Starts with what a rehearsal found; without one the clock learns from the run alone."""
        found = paces or [None] * len(legs)
        self.stages = {leg.name: _Running(leg, pace) for leg, pace in zip(legs, found, strict=True)}
        self.now = now
        self.current: _Running | None = None
        self.began: float | None = None  # When the present epoch did; None between two.

    def started(self, stage: str, epoch: int) -> None:
        """An epoch begins; the stages before this one are over."""
        for name, running in self.stages.items():
            if name == stage:
                self.current, running.done = running, epoch
                break
            running.done = running.leg.epochs
        self.began = self.now()

    def stepped(self, done: int, total: int) -> bool:
        """Some steps of an epoch are done; returns whether the run's own pace counts from now on."""
        running = self.current
        if running is None or self.began is None or done < CORRECTED_AFTER or running.known:
            return False
        validation = running.pace.validation if running.pace else 0.0
        running.early = (self.now() - self.began) / done * total + validation
        return True

    def finished(self) -> None:
        """The epoch has ended, and its seconds count."""
        if self.current is not None and self.began is not None:
            self.current.spans.append(self.now() - self.began)
            self.current.done += 1
        self.began = None

    def left(self) -> float | None:
        """The seconds left of the whole run; None where a stage is still unknown."""
        total = 0.0
        for running in self.stages.values():
            left = running.left()
            if left is None:
                return None
            total += left * (1.0 if running is self.current else self._ratio())
        return max(total - self._spent(), 0.0)

    def _ratio(self) -> float:
        """How much slower than rehearsed the run is now, which the later stages will be too."""
        return (self.current.ratio() if self.current else None) or 1.0

    def _spent(self) -> float:
        """The seconds of the present epoch that are over, at most all that it should take."""
        if self.current is None or self.began is None:
            return 0.0
        return min(self.now() - self.began, self.current.epoch() or 0.0)
