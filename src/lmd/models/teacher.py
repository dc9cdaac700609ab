"""The teacher: an exponential moving average of the student."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor

from lmd.graphed import of_fixed_shapes
from lmd.models.network import Network, Output


def ema_decay(step: int, limit: float) -> float:
    """Returns a_t = min(1 - 1/(t+1), limit): 0 at t = 0, so that the teacher starts as a copy.

    >>> [round(ema_decay(step, 0.7), 3) for step in (0, 1, 2, 9)]
    [0.0, 0.5, 0.667, 0.7]
    """
    return min(1.0 - 1.0 / (step + 1), limit)


class Teacher:
    """The network f'. g' whose parameters follow the student's: theta' <- a theta' + (1-a) theta.

    Its BatchNorm normalises with the statistics of the batch it sees, as the student's does. Its own running
    statistics are never used: an exported teacher has the student's (docs/paper.md, row 9).
    """

    def __init__(self, student: Network, decay: float) -> None:
        """Starts as a copy of the student; `decay` is the limit of a_t."""
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.decay = decay
        self.network.train()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Output:
        """Returns the teacher's features and logits, without a gradient."""
        return self.network(images)

    def weight(self, step: int) -> float:
        """Returns 1 - a_t, the part of the student in a step, t = `step`."""
        return 1.0 - ema_decay(step, self.decay)

    @torch.no_grad()
    def follow(self, student: Network, weight: float | Tensor) -> None:
        """Moves the parameters toward the student's: theta' <- a_t theta' + (1 - a_t) theta.

        The weight 1 - a_t may be a tensor of one element, as in a CUDA graph that has to see it change. On a
        GPU a number gives the same, to the last bit.
        """
        mine = [parameter.data for parameter in self.network.parameters()]
        others = [parameter.data for parameter in student.parameters()]
        if of_fixed_shapes(mine[0]):
            moves = torch._foreach_sub(others, mine)
            torch._foreach_mul_(moves, weight)
            torch._foreach_add_(mine, moves)
        else:
            torch._foreach_lerp_(mine, others, cast("float", weight))

    def export(self, student: Network) -> dict[str, Tensor]:
        """Returns the teacher's parameters with the student's BatchNorm buffers."""
        return {**self.network.state_dict(), **dict(student.named_buffers())}
