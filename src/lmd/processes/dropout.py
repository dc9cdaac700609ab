"""Dropout on several processes: each draws for its own images, and what is drawn for all stays the same."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd  # torch has no public name for what they share.

_RANK_STEP = 0x9E3779B9  # So that the seeds of the processes lie apart.


def draws_within(network: nn.Module) -> bool:
    """Returns whether a network in training draws random numbers: dropout, or dropped paths."""
    chances = (
        part.p if isinstance(part, _DropoutNd) else getattr(part, "drop_prob", 0.0)
        for part in network.modules()
    )
    return any(bool(chance) for chance in chances)


def draw_apart(network: nn.Module, rank: int) -> None:
    """Gives a network's own draws a stream for each process, and leaves torch's generator as it was.

    Else all processes would drop the same places of their images, and a process with one image more than
    another would mix other images afterwards.
    """
    before: list[torch.Tensor] = []

    def enter(module: nn.Module, given: Any) -> None:
        before.append(torch.get_rng_state())
        torch.manual_seed(int(torch.randint(2**62, ())) ^ (_RANK_STEP * (rank + 1)))

    def leave(module: nn.Module, given: Any, output: Any) -> None:
        torch.set_rng_state(before.pop())
        torch.rand(())  # So that the next pass draws others.

    if draws_within(network):
        network.register_forward_pre_hook(enter)
        network.register_forward_hook(leave)
