"""The physical limits: the bare random numbers and matrix products that a task cannot do without."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.problem import Size
from lmd.losses.gaussian import ClassGaussians
from lmd.losses.virtual import BLOCKS, CHUNK, cheaper_from_rows


def sampled_m_step(size: Size, gaussians: ClassGaussians) -> Callable[[], None]:
    """Returns a run of the normal draws and products of one sampled M-step, and nothing else.

    For each class the draws times its factor [rows, C]; for each batch the product of the classifier and that
    of its gradient. Into memory that is allocated once, in chunks of the size that is fastest.
    """
    device, channels = gaussians.mean.device, size.channels
    num_classes = len(size.counts)
    rows = CHUNK // channels // num_classes
    rows_of = [len(spread) for spread in gaussians.spread]
    sizes = [n if cheaper_from_rows(n, channels) else channels for n in rows_of]
    factors = [torch.randn(n, channels, device=device) for n in sizes]
    chunk = torch.empty(num_classes, rows, channels, device=device)
    tails = [torch.empty(rows, n, device=device) for n in sizes]
    weight = torch.randn(num_classes, channels, device=device)
    logits = torch.empty(size.m_step_batch, num_classes, device=device)
    gradient = torch.empty(num_classes, channels, device=device)
    batch = chunk.view(-1, channels)[: size.m_step_batch]
    product = torch.empty(rows, channels, device=device)
    width = -(-channels // BLOCKS)

    def run() -> None:
        for _ in range(-(-size.virtual_per_class // rows)):
            chunk.normal_()
            for k, factor in enumerate(factors):
                if len(factor) < channels:
                    torch.mm(tails[k].normal_(), factor, out=product)
                else:  # A triangle, in the blocks in which it costs least.
                    for first in range(0, channels, width):
                        used, block = first + width, slice(first, first + width)
                        torch.mm(chunk[k][:, :used], factor[:used, block], out=product[:, block])
        for _ in range(-(-size.virtual_per_class * num_classes // len(batch))):
            torch.mm(batch, weight.T, out=logits[: len(batch)])
            torch.mm(logits[: len(batch)].T, batch, out=gradient)

    return run


def distances(features: Tensor, gaussians: ClassGaussians) -> Callable[[], None]:
    """Returns a run of the products of FDC's distances, forward and backward: batch x [C, C] or [C, rows]."""
    channels = features.shape[1]
    pairs: list[tuple[Tensor, Tensor]] = []
    for spread in gaussians.spread:
        first = torch.randn(channels, min(len(spread), channels), device=features.device)
        pairs.append((first, first.T.contiguous()))

    def run() -> None:
        for first, second in pairs:
            low = 2 * len(second) <= channels
            for _ in range(2):  # Forward, and backward.
                product = features @ first
                if low:
                    product @ second

    return run
