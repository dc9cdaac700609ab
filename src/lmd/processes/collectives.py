"""What processes exchange: rows, gradients, sums, and what the first of them decides."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from lmd.processes.speaking import LostProcessError

BUCKET = 2**23  # The numbers of one exchange of gradients: 32 MB in fp32.


def several() -> bool:
    """Returns whether this process trains together with others."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@contextmanager
def exchange() -> Iterator[None]:
    """Turns what torch says of a process that has gone into one line.

    Raises:
        LostProcessError: another process has ended, or has not answered in time.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise LostProcessError(
            "another process of this training has ended or does not answer; the last epoch that was saved "
            "is kept: start the same command again with --resume"
        ) from error


def gather(tensor: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
    """Returns the rows of all processes, with a gradient that is right on any number of them.

    Every process evaluates the loss L on all rows, and the gradients of the parameters are then averaged
    over the W processes. The backward pass therefore adds up the W (equal) gradients that reach a row, so
    that the average is that of one process. `lengths` are the rows of each process, where they are known;
    else they are asked for.
    """
    if not several():
        return tensor
    return cast("Tensor", _Gather.apply(tensor, _lengths(tensor) if lengths is None else list(lengths)))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, lengths: list[int]) -> Tensor:  # type: ignore[bad-override]
        ctx.lengths = lengths
        padded = tensor.new_zeros(max(lengths), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in lengths]
        with exchange():
            dist.all_gather(parts, padded)
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = summed(gradients[0].contiguous().clone())
        return gradient.split(ctx.lengths)[dist.get_rank()].clone(), None


def _lengths(tensor: Tensor) -> list[int]:
    own = torch.tensor([len(tensor)], device=tensor.device)
    found = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    with exchange():
        dist.all_gather(found, own)
    return torch.cat(found).tolist()


def summed(tensor: Tensor) -> Tensor:
    """Returns the sum over all processes, in place."""
    if several():
        with exchange():
            dist.all_reduce(tensor)
    return tensor


def averaged(tensor: Tensor) -> Tensor:
    """Returns the mean over all processes, in place."""
    return summed(tensor).div_(dist.get_world_size()) if several() else tensor


def average_all(tensors: Sequence[Tensor]) -> None:
    """Averages tensors over all processes, in place, many of them in one exchange.

    All processes get the same bits: a sum is made once, and then sent.
    """
    if several():
        for bucket in _buckets(tensors):
            flat = averaged(torch.cat([tensor.flatten() for tensor in bucket]))
            for tensor, part in zip(bucket, flat.split([one.numel() for one in bucket]), strict=True):
                tensor.copy_(part.view_as(tensor))


def same_as_first(tensors: Sequence[Tensor]) -> None:
    """Gives tensors the values of the first process, in place."""
    if several():
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            with exchange():
                dist.broadcast(flat, 0)
            for tensor, part in zip(bucket, flat.split([one.numel() for one in bucket]), strict=True):
                tensor.copy_(part.view_as(tensor))


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one kind, in their order, in pieces of about `BUCKET` numbers."""
    ordered = sorted(tensors, key=lambda tensor: str(tensor.dtype))
    for _, alike in itertools.groupby(ordered, key=lambda tensor: tensor.dtype):
        bucket: list[Tensor] = []
        for tensor in alike:
            bucket.append(tensor)
            if sum(one.numel() for one in bucket) >= BUCKET:
                yield bucket
                bucket = []
        if bucket:
            yield bucket


class Control:
    """What processes tell each other beside the numbers: texts, and signals to stop."""

    def __init__(self, group: Any) -> None:
        """Takes over a group of its own; its tensors are on the CPU."""
        self.group = group
        self.asked = torch.zeros(1, dtype=torch.int64)
        self.work: Any = None

    def told_by_first(self, text: str) -> str:
        """Returns the text of the first process; the others wait for it, however long it takes."""
        own = torch.frombuffer(bytearray(text.encode() or b"\0"), dtype=torch.uint8)
        length = torch.tensor([len(own)])
        with exchange():
            dist.broadcast(length, 0, group=self.group)
            data = own if dist.get_rank() == 0 else torch.empty(int(length), dtype=torch.uint8)
            dist.broadcast(data, 0, group=self.group)
        return bytes(data.tolist()).decode().strip("\0")

    def signal(self, asked: int) -> int:
        """Returns the signal that any process had been given a step ago, and asks for the next; 0: none.

        It is read a step late, so that no step waits for it. All processes read the same.
        """
        with exchange():
            found = 0
            if self.work is not None:
                self.work.wait()
                found = int(self.asked)
            self.asked = torch.tensor([asked])
            self.work = dist.all_reduce(self.asked, dist.ReduceOp.MAX, group=self.group, async_op=True)
        return found
