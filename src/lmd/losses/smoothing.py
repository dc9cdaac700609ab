"""Label over-smoothing: targets hardly above 1/K, so that the logits stay small."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from lmd.numerics import at_least_float32


def smoothed_cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], smoothing: float = 0.98
) -> Float[Tensor, ""]:
    """The mean cross entropy to targets of 1 - d + d/K for the label and d/K for every other class.

        -(1/B) sum_i [ (1 - d) log p_{y_i} + (d/K) sum_k log p_ik ],   d = smoothing

    Sun et al., ICLR 2025 (label over-smoothing; LORT in the preprint). At d = 0 it is the cross entropy.

    >>> import torch
    >>> round(float(smoothed_cross_entropy(torch.zeros(1, 4), torch.tensor([2]))), 4)  # log 4, for any d
    1.3863
    """
    log_p = at_least_float32(logits).log_softmax(1)
    own = log_p.gather(1, labels[:, None]).squeeze(1)
    return -((1 - smoothing) * own + smoothing * log_p.mean(1)).mean()
