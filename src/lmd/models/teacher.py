"""The teacher: an exponential moving average of the student."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor

from lmd.models.network import Network, Output, batch_norms

BatchNormRule = Literal["batch", "ema_buffers", "copy_student"]


def ema_decay(step: int, limit: float) -> float:
    """Returns a_t = min(1 - 1/(t+1), limit): 0 at t = 0, so that the teacher starts as a copy.

    >>> [round(ema_decay(step, 0.7), 3) for step in (0, 1, 2, 9)]
    [0.0, 0.5, 0.667, 0.7]
    """
    return min(1.0 - 1.0 / (step + 1), limit)


class Teacher:
    """The network f'. g' whose parameters follow the student's: theta' <- a theta' + (1-a) theta.

    BatchNorm (methods.md 1.3, row 9). With "batch", the default, the teacher normalises with the
    statistics of the batch it sees, as the student does, and its running buffers are copied from the
    student when it is exported. "ema_buffers" averages the student's buffers and normalises with
    them; "copy_student" normalises with the student's present buffers.
    """

    def __init__(self, student: Network, decay: float, batch_norm: BatchNormRule = "batch") -> None:
        """Starts as a copy of the student; `decay` is the limit of a_t."""
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.decay = decay
        self.batch_norm = batch_norm
        self.network.train()
        if batch_norm != "batch":
            for layer in batch_norms(self.network):
                layer.eval()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Output:
        """Returns the teacher's features and logits, without a gradient."""
        return self.network(images)

    @torch.no_grad()
    def follow(self, student: Network, step: int) -> None:
        """Moves the parameters (and, if so set, the buffers) toward the student's; t = `step`."""
        weight = 1.0 - ema_decay(step, self.decay)
        mine = [parameter.data for parameter in self.network.parameters()]
        torch._foreach_lerp_(mine, [parameter.data for parameter in student.parameters()], weight)
        if self.batch_norm == "batch":
            return
        buffer_weight = weight if self.batch_norm == "ema_buffers" else 1.0
        for buffer, other in zip(self.network.buffers(), student.buffers(), strict=True):
            if buffer.is_floating_point():
                buffer.lerp_(other, buffer_weight)

    def export(self, student: Network) -> dict[str, Tensor]:
        """Returns the teacher's weights, with the student's BatchNorm buffers where it keeps none."""
        state = dict(self.network.state_dict())
        if self.batch_norm == "batch":
            state.update(dict(student.named_buffers()))
        return state
