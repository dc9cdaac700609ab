"""Trainings in double precision: what differs between one process and several is then an error or 1e-10.

In fp32 a training makes rounding errors grow a thousandfold with each epoch, whatever made them: after ten
epochs two right trainings may be as far from each other as two wrong ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from lmd.losses.distance import prepare_metric
from lmd.methods import cicl
from lmd.stages import base
from lmd.stages.calibration import e_step, m_step

_PLACES: tuple[Any, ...] = (base, e_step, cicl)


@contextmanager
def doubled() -> Iterator[None]:
    """Has all networks be made, and all losses be computed, in double precision; the views stay in fp32."""
    plain, before = Tensor.float, torch.get_default_dtype()

    def kept(tensor: Tensor) -> Tensor:
        return tensor if tensor.dtype == torch.float64 else plain(tensor)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(Tensor, "float", kept))
        stack.enter_context(mock.patch.object(m_step.SampledMStep, "blocks", _doubled_blocks()))
        stack.enter_context(mock.patch.object(e_step, "prepare_metric", _doubled_metric))
        for module in _PLACES:
            stack.enter_context(mock.patch.object(module, "seeded_view", _one_by_one(module.seeded_view)))
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def _one_by_one(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Makes the view of each image by itself, in fp32: how it is rounded does not depend on its batch."""

    def made(name: str, images: Tensor, index: Tensor, *rest: Any) -> Tensor:
        torch.set_default_dtype(torch.float32)
        try:
            parts = [make(name, images[i : i + 1], index[i : i + 1], *rest) for i in range(len(images))]
        finally:
            torch.set_default_dtype(torch.float64)
        return torch.cat(parts).double()

    return made


def _doubled_blocks() -> Callable[..., Iterator[Tensor]]:
    usual = m_step.SampledMStep.blocks

    def blocks(self: Any, *arguments: Any) -> Iterator[Tensor]:
        return (block.double() for block in usual(self, *arguments))

    return blocks


class _doubled_metric:  # noqa: N801 - it stands for a function.
    """A metric whose factors are in fp32, as it is made, and whose distances are in double precision."""

    def __init__(self, *arguments: Any) -> None:
        self.metric = prepare_metric(*arguments)

    def distances(self, features: Tensor) -> Tensor:
        return self.metric.distances(features.to(torch.float32)).double()
