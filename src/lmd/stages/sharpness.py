"""Sharpness-aware steps: the gradient is taken where a small step uphill leads, not where the weights are.

Foret et al., "Sharpness-aware minimization for efficiently improving generalization", ICLR 2021; weighted by
class as in Li et al., "Focal-SAM", ICML 2025 (arXiv 2505.01660):

    w' = w + rho g / ||g||,    g = grad_w (1/B) sum_i (1 - pi_{y_i})^gamma CE_i(w),    w <- w - lr grad L(w')

gamma = 0 weighs all images alike. The larger gamma, the less a common class says where uphill is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lmd.models.network import batch_norms
from lmd.settings import Fraction, NonNegative, Settings


class SharpnessSettings(Settings):
    """When and how far weights are moved uphill before the gradient is taken."""

    radius: NonNegative = 0.05
    """rho, length of the step uphill (paper of Foret et al.); 0: no such steps"""
    last: Fraction = 0.5
    """the part of the stage, its end, that has such steps (ours)"""
    focus: NonNegative = 2.0
    """gamma, how much less images of common classes say where uphill is (ours); 0: all alike"""


def focal_weights(shares: Tensor, focus: float) -> Tensor:
    """Returns (1 - pi_k)^gamma for each class.

    >>> focal_weights(torch.tensor([0.75, 0.25]), 2.0).tolist()
    [0.0625, 0.5625]
    """
    return (1.0 - shares) ** focus


@contextmanager
def moved_uphill(weights: Sequence[Tensor], radius: float | Tensor) -> Iterator[None]:
    """Moves weights by `radius` along their gradient of length 1, and back by as much.

    A weight without a gradient stays. Where all of the gradient is 0, nothing moves.
    """
    moved = [weight for weight in weights if weight.grad is not None]
    gradients = [weight.grad for weight in moved if weight.grad is not None]
    with torch.no_grad():
        before = [weight.clone() for weight in moved]
        length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_add_(moved, torch._foreach_mul(gradients, radius / length.clamp(min=1e-12)))
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(moved, before)


@contextmanager
def same_statistics(network: nn.Module) -> Iterator[None]:
    """Keeps BatchNorm's running statistics as they are for a while; batches are normalised as ever."""
    layers = batch_norms(network)
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
