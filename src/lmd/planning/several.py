"""The plan of a training on each of several folds: that of one of them, as often as there are folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lmd.planning.clock import Clock
from lmd.planning.outline import Outline
from lmd.planning.plan import Plan


class PlanOfFolds(Plan):
    """What a run on folds will do. The folds have nearly equal numbers of images: one is rehearsed."""

    def __init__(self, outline: Outline, names: Sequence[str]) -> None:
        """Takes the outline of one fold, and the names of all that are to be trained."""
        super().__init__(outline)
        self.names = names

    @property
    def seconds(self) -> float | None:
        """The seconds of all folds, one after another."""
        one = super().seconds
        return None if one is None else one * len(self.names)

    def clock(self, measured: bool = True) -> Clock:
        """Returns a clock of all folds; their stages are named "fold-1 stage1"."""
        legs = [replace(leg, name=f"{name} {leg.name}") for name in self.names for leg in self.outline.legs]
        paces = self.paces if measured else None
        return Clock(legs, None if paces is None else [*paces] * len(self.names))

    def _data(self) -> list[tuple[str, str]]:
        number = len(self.names)
        told = f"{number} to train, all like {self.names[0]}; the time is of all, one after another"
        return [("folds", told), *super()._data()]
