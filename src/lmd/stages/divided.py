"""A stage whose batches several processes divide: parts of a batch, gathered rows, draws, gradients."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lmd.data.feed.cuts import cut
from lmd.graphed import Inputs
from lmd.processes.collectives import average_all, gather
from lmd.processes.shares import Share
from lmd.settings import CommonSettings


class Divided:
    """What a stage of gradient descent does with its batches where each process has a part of them.

    On one process a part is the whole.
    """

    common: CommonSettings
    context: Any
    optimiser: torch.optim.Optimizer
    # Whether several processes divide each batch; else each of them computes all of it.
    divided = True
    # This process's part of the present batch.
    share: Share | None = None
    # What the present step is given: the batch, and the numbers that change.
    now: Inputs = MappingProxyType({})

    def parts(self, order: np.ndarray) -> list[np.ndarray]:
        """Returns the rows of each batch that this process computes."""
        whole = cut(order, self.common.batch, self.common.last_batch)
        return [self._share(len(part)).of(part) for part in whole]

    def _share(self, whole: int) -> Share:
        return self.context.runtime.share(whole) if self.divided else Share(whole)

    def share_of(self, labels: Tensor) -> Share:
        """Returns this process's part of the batch that these labels are of.

        What a loss draws for each image is drawn for all of the batch, from the same seed on each process,
        and then cut: `share.of(draw(share.whole))`.
        """
        return self.share or Share(len(labels))

    def gather(self, rows: Tensor) -> Tensor:
        """Returns the rows of all of the batch, in its order, from those of this process's part."""
        return gather(rows, self.share.lengths if self.share else None) if self.divided else rows

    def backward(self, loss: Tensor, labels: Tensor) -> None:
        """Leaves the gradient of a loss of the batch with these labels, averaged over the processes."""
        self.optimiser.zero_grad(set_to_none=True)
        self.context.runtime.backward(self.share_of(labels).weighed(loss))
        if self.divided:
            average_gradients(self.optimiser)

    def draws(self, share: Share) -> dict[str, Any]:
        """Returns what a step draws at random, by name, for all of the batch; nothing here.

        A loss takes it from `drawn`. The numbers are the processor's, the same for a GPU.
        """
        return {}

    def drawn(self, labels: Tensor) -> Mapping[str, Any]:
        """Returns the draws of the present step, on the device of its labels."""
        if isinstance(self.now.get("epoch"), Tensor):
            return self.now
        found = self.draws(self.share_of(labels))
        return {
            name: value.to(labels.device) if isinstance(value, Tensor) else value
            for name, value in found.items()
        }


def average_gradients(optimiser: torch.optim.Optimizer) -> None:
    """Averages the gradients that an optimiser is about to follow over the processes."""
    parameters = [one for group in optimiser.param_groups for one in group["params"]]
    average_all([one.grad for one in parameters if one.grad is not None])
