"""Classifiers: the linear map f from features [B, C] to logits [B, K]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LinearHead(nn.Linear):
    """The paper's classifier: s = W z + b, drawn anew from its own seeded generator."""

    def __init__(self, channels: int, num_classes: int, seed: int) -> None:
        """Draws W and b uniformly in +-1/sqrt(C) (torch's own rule), as a function of `seed` alone."""
        super().__init__(channels, num_classes)
        _draw_uniform(self.weight, seed)
        _draw_uniform(self.bias, seed + 1, fan_in=channels)


class CosineHead(nn.Module):
    """A normalised classifier: s_k = scale * cos(z, w_k); rare and common classes have equal norms."""

    def __init__(self, channels: int, num_classes: int, seed: int, scale: float = 16.0) -> None:
        """Draws W as `LinearHead` does; `scale` is the fixed inverse temperature."""
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(num_classes, channels))
        _draw_uniform(self.weight, seed)

    def forward(self, features: Tensor) -> Tensor:
        """Returns the logits [B, K] of features [B, C]."""
        return self.scale * F.linear(F.normalize(features, dim=1), F.normalize(self.weight, dim=1))


def build_classifier(head: str, channels: int, num_classes: int, seed: int) -> nn.Module:
    """Returns a new classifier; `head` is "linear" or "cosine"."""
    return (CosineHead if head == "cosine" else LinearHead)(channels, num_classes, seed)


def _draw_uniform(parameter: Tensor, seed: int, fan_in: int | None = None) -> None:
    bound = (fan_in or parameter.shape[-1]) ** -0.5
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        parameter.uniform_(-bound, bound, generator=generator)
