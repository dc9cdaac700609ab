"""The part of a batch that one of several processes computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lmd.errors import SettingsError
from lmd.text import numbered


@dataclass(frozen=True)
class Share:
    """A process's part of a batch of `whole` images: rows that lie side by side, none of them padded.

    >>> [Share(5, rank, 2).lengths for rank in (0, 1)], Share(5, 1, 2).of([0, 1, 2, 3, 4])
    ([[3, 2], [3, 2]], [3, 4])
    """

    whole: int
    rank: int = 0
    world: int = 1

    @property
    def lengths(self) -> list[int]:
        """How many images each process has: nearly the same number.

        Raises:
            SettingsError: there are fewer images than processes.
        """
        each, more = divmod(self.whole, self.world)
        if not each and self.world > 1:
            raise SettingsError(
                f"a batch of {numbered(self.whole, 'image')} on {self.world} processes leaves some of "
                "them without any: "
                "start fewer processes, or set a larger batch"
            )
        return [each + (rank < more) for rank in range(self.world)]

    @property
    def rows(self) -> slice:
        """This process's rows of the batch."""
        lengths = self.lengths
        start = sum(lengths[: self.rank])
        return slice(start, start + lengths[self.rank])

    def of(self, batch: Any) -> Any:
        """Returns this process's rows of what the whole batch has: an array, a tensor, a list."""
        return batch if self.world == 1 else batch[self.rows]

    @property
    def weight(self) -> float:
        """What a mean over this process's images counts, so that the mean over processes is that of all.

        It is W b / B for b of the B images on W processes: 1 where all have as many.
        """
        return self.lengths[self.rank] * self.world / self.whole if self.whole else 1.0

    def weighed(self, loss: Any) -> Any:
        """Returns a mean over this process's images as it counts in the mean over the processes."""
        return loss if self.weight == 1.0 else loss * self.weight
