"""The same network at rest, with less to compute: BatchNorm folded, weights rounded once."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, cast

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm  # torch has no public name for what they share.
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lmd.models.dense import make_dense
from lmd.models.network import Network


class _Tracer(fx.Tracer):
    """Follows the images through an encoder; convolutions and BatchNorm are not looked into."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one step of the trace."""
        return isinstance(m, nn.Conv2d | _BatchNorm) or super().is_leaf_module(m, module_qualified_name)


def at_rest(network: Network, precision: str) -> Network:
    """Returns a copy of a network that gives the same answers with less to compute.

    In fp32 its BatchNorm is folded. In bf16 it is not: the folded weights and biases would be rounded to
    bf16, which adds a third to the error of the probabilities and saves 3% of the time (docs/speed.md).
    There the weights of the convolutions are rounded once instead of for each batch: not a bit changes.
    In both, the matrices of the convolutions of small maps (`make_dense`) are made once.
    """
    result = _rounded(network) if precision == "bf16" else fold_batch_norm(network)
    make_dense(result.encoder, fixed=True)
    return result


def _rounded(network: Network) -> Network:
    """Returns a copy of a network, at rest, whose convolutions have their weights in bf16."""
    rounded = copy.deepcopy(network).eval()
    for part in rounded.encoder.modules():
        if type(part) in _convolutions():
            part.to(torch.bfloat16)
    return rounded


def fold_batch_norm(network: Network) -> Network:
    """Returns a copy of a network, at rest, in which BatchNorm after a convolution has become part of it.

    At rest BatchNorm is an affine map of each channel, so that the answers are the same to rounding. What is
    not known to be the same is left as it is: a convolution whose result is used elsewhere too, a subclass
    that may compute something else, and all of an encoder whose path depends on its images.
    """
    folded = copy.deepcopy(network).eval()
    for convolution, norm in _pairs(folded.encoder):
        fused = fuse_conv_bn_eval(convolution, norm)
        convolution.weight, convolution.bias = fused.weight, fused.bias
        # The modules stay and change what they do: whatever else refers to them finds the new ones.
        cast("Any", norm).forward = _what_follows(norm).forward
    return folded


def _pairs(encoder: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution whose result goes to a BatchNorm and nowhere else, with that BatchNorm."""
    try:
        steps = list(_Tracer().trace(encoder).nodes)
    except Exception:  # Whatever an encoder raises that looks at the values or shapes of its images.
        return []
    modules = dict(encoder.named_modules())
    # How often each module is called, or its weights used by another.
    uses = Counter(
        str(step.target).rpartition(".")[0] if step.op == "get_attr" else str(step.target) for step in steps
    )

    def called_once(step: fx.Node, kinds: tuple[type[nn.Module], ...]) -> Any:
        name = str(step.target)
        here = step.op == "call_module" and uses[name] == 1 and type(modules[name]) in kinds
        return modules[name] if here else None

    found: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    for step in steps:
        norm = called_once(step, _norms())
        before = step.all_input_nodes[0] if norm is not None and norm.running_mean is not None else None
        convolution = called_once(before, _convolutions()) if before and len(before.users) == 1 else None
        if convolution is not None:
            found.append((convolution, norm))
    return found


# Of these it is known what they compute; a subclass may standardise its weights, or normalise otherwise.


def _convolutions() -> tuple[type[nn.Module], ...]:
    from timm.layers import Conv2dSame

    return nn.Conv2d, Conv2dSame


def _norms() -> tuple[type[nn.Module], ...]:
    from timm.layers import BatchNormAct2d

    return nn.BatchNorm2d, BatchNormAct2d


def _what_follows(norm: nn.BatchNorm2d) -> nn.Module:
    """What a BatchNorm does after normalising: nothing, or the activation that timm puts into it."""
    if type(norm) is nn.BatchNorm2d:
        return nn.Identity()
    return nn.Sequential(cast("Any", norm).drop, cast("Any", norm).act)
