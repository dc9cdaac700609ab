"""BatchNorm whose statistics are those of the images of all processes, as one process would have them.

On a GPU torch's SyncBatchNorm does that. It refuses a CPU, so that there is one of our own. Nothing of a
network changes: its layers stay what they are, with their names and weights, and ask the same function of
torch for their result. While `over_processes` is entered, that function answers for all processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules._functions import SyncBatchNorm  # torch has no public name for the function.

from lmd.processes.collectives import exchange, several, summed

_usual = F.batch_norm


@contextmanager
def over_processes() -> Iterator[None]:
    """Has BatchNorm in training look at the images of all processes for a while."""
    if several():
        cast("Any", F).batch_norm = _batch_norm
    try:
        yield
    finally:
        cast("Any", F).batch_norm = _usual


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """What `torch.nn.functional.batch_norm` does, on the images of all processes."""
    if not training or running_mean is None or running_var is None:
        return _usual(input, running_mean, running_var, weight, bias, training, momentum, eps)
    channels = input.shape[1]
    weight = input.new_ones(channels) if weight is None else weight
    bias = input.new_zeros(channels) if bias is None else bias
    if input.is_cuda:
        return _on_gpu(input, weight, bias, running_mean, running_var, eps, momentum)
    return cast("Tensor", _OverProcesses.apply(input, weight, bias, running_mean, running_var, momentum, eps))


def _on_gpu(input: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, *rest: float) -> Tensor:
    group, world = dist.group.WORLD, dist.get_world_size()
    with exchange():
        return cast("Tensor", SyncBatchNorm.apply(input, weight, bias, mean, var, *rest, group, world))


class _OverProcesses(torch.autograd.Function):
    """y = (x - mean) / sqrt(var + eps) w + b, with the mean and the variance of all processes' images.

    Each process has its own mean and variance; count, sum and sum of squares are added in double precision.
    With d = dL/dy, x^ = (x - mean) / sqrt(var + eps) and sums over all processes' n places of a channel

        dL/dx = w / sqrt(var + eps) (d - (1/n) sum d - x^ (1/n) sum d x^)
    """

    @staticmethod
    def forward(  # type: ignore[bad-override]
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor,
        momentum: float, eps: float,
    ) -> Tensor:  # fmt: skip
        count, mean, var = moments(x)
        ctx.save_for_backward(x, weight, mean, var)
        ctx.count, ctx.eps = count, eps
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_((var * (count / max(count - 1, 1))).to(running_var), momentum)
        return _affine(x, weight, bias, mean, var, eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var = ctx.saved_tensors
        at_rest, to_weight, to_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, mean.to(weight), var.to(weight), None, None, False, ctx.eps,
            [True, True, True],
        )  # fmt: skip
        sums = summed(torch.stack([to_bias, to_weight]).double()) / ctx.count
        slope = weight.double() / (var + ctx.eps).sqrt()
        shared = _affine(x, (slope * sums[1]).to(weight), (slope * sums[0]).to(weight), mean, var, ctx.eps)
        return at_rest.sub_(shared), to_weight, to_bias, None, None, None, None


def moments(x: Tensor) -> tuple[float, Tensor, Tensor]:
    """Returns how many numbers a channel has on all processes, their mean and their variance, in double."""
    places = [axis for axis in range(x.dim()) if axis != 1]
    var, mean = (part.double() for part in torch.var_mean(x.float(), places, correction=0))
    own = torch.full((1,), x.numel() // x.shape[1], dtype=torch.float64, device=x.device)
    total = summed(torch.cat([own, own * mean, own * (var + mean.square())]))
    count = float(total[0])
    mean, square = (total[1:] / count).chunk(2)
    return count, mean, (square - mean.square()).clamp(min=0)


def _affine(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    """BatchNorm at rest, which is one pass over the maps."""
    kind = weight.dtype
    return torch.native_batch_norm(x, weight, bias, mean.to(kind), var.to(kind), False, 0.0, eps)[0]
