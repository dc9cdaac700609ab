"""Lengths that a plan turns into epochs once it knows the data: steps, and parts of the first stage."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Steps:
    """So many gradient steps, and no fewer epochs than `epochs`.

    >>> Steps(1000).in_epochs(11), Steps(300, epochs=10).in_epochs(100)
    (91, 10)
    """

    number: int
    epochs: int = 1

    def in_epochs(self, steps_per_epoch: int) -> int:
        """Returns the fewest epochs that have so many steps."""
        return max(self.epochs, math.ceil(self.number / max(steps_per_epoch, 1)))


@dataclass(frozen=True)
class Share:
    """A part of the first stage's epochs, such as those over which a loss weight grows.

    >>> Share(0.25).in_epochs(91)
    23
    """

    part: float

    def in_epochs(self, epochs: int) -> int:
        """Returns that part of so many epochs, at least one."""
        return max(1, round(self.part * epochs))
