"""Numerical helpers that losses share."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(value: Tensor) -> Tensor:
    """Returns a tensor in fp32 where it was in half precision; double stays double.

    >>> at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return value if value.dtype in (torch.float32, torch.float64) else value.float()
