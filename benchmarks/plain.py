"""The network as timm computes it: without the products that `lmd.models.dense` puts into it."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def as_timm_computes(network: Module) -> Module:
    """Returns a copy of a network in which every convolution convolves."""
    plain = copy.deepcopy(network)
    for part in plain.modules():
        vars(part).pop("forward", None)
    return plain
