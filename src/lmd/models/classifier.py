"""Classifiers: the linear map f from features [B, C] to logits [B, K]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LinearClassifier(nn.Linear):
    """The paper's classifier: s = W z + b, drawn anew from its own seeded generator."""

    def __init__(self, channels: int, num_classes: int, seed: int) -> None:
        """Draws W and b uniformly in +-1/sqrt(C) (torch's own rule), as a function of `seed` alone."""
        super().__init__(channels, num_classes)
        _draw_uniform(self.weight, seed)
        _draw_uniform(self.bias, seed + 1, fan_in=channels)


class CosineClassifier(nn.Module):
    """A normalised classifier: s_k = scale * cos(z, w_k); rare and common classes have equal norms."""

    def __init__(self, channels: int, num_classes: int, seed: int, scale: float = 16.0) -> None:
        """Draws W as `LinearClassifier` does; `scale`, the inverse temperature, is saved with the weights."""
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))
        self.weight = nn.Parameter(torch.empty(num_classes, channels))
        _draw_uniform(self.weight, seed)

    def forward(self, features: Tensor) -> Tensor:
        """Returns the logits [B, K] of features [B, C]."""
        return self.scale * self.cosines(features)

    def cosines(self, features: Tensor) -> Tensor:
        """Returns cos(z, w_k) [B, K], in fp32: margins are smaller than half precision resolves."""
        with torch.autocast(features.device.type, enabled=False):  # It would run `linear` in half precision.
            return F.linear(F.normalize(features.float(), dim=1), F.normalize(self.weight, dim=1))


class PrototypeClassifier(nn.Module):
    """A classifier without weights: s_k = -scale * || h(z) - m_k ||^2 to the prototype m_k of each class.

    h subtracts `centre` and, where `unit` is 1, scales to unit length (Kang et al., ICLR 2020, NCM).
    """

    def __init__(self, channels: int, num_classes: int, seed: int) -> None:
        """Starts with all prototypes at the origin; `seed` is not used, nothing is drawn."""
        super().__init__()
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("unit", torch.tensor(0.0))
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("prototypes", torch.zeros(num_classes, channels))

    def treat(self, features: Tensor) -> Tensor:
        """Returns h(z) of features [B, C]."""
        centred = features.float() - self.centre
        return torch.where(self.unit > 0, F.normalize(centred, dim=1), centred)

    def forward(self, features: Tensor) -> Tensor:
        """Returns the logits [B, K] of features [B, C]."""
        return -self.scale * torch.cdist(self.treat(features), self.prototypes).square()


CLASSIFIERS: dict[str, type[nn.Module]] = {
    "linear": LinearClassifier,
    "cosine": CosineClassifier,
    "prototype": PrototypeClassifier,
}


def build_classifier(
    kind: str, channels: int, num_classes: int, seed: int, scale: float | None = None
) -> nn.Module:
    """Returns a new classifier; `kind` is "linear", "cosine" (with a `scale`) or "prototype"."""
    if kind == "cosine" and scale is not None:
        return CosineClassifier(channels, num_classes, seed, scale)
    return CLASSIFIERS[kind](channels, num_classes, seed)


def classifier_kind(classifier: nn.Module) -> str:
    """Returns the name that `build_classifier` knows a classifier's kind by."""
    return next(name for name, kind in CLASSIFIERS.items() if type(classifier) is kind)


def _draw_uniform(parameter: Tensor, seed: int, fan_in: int | None = None) -> None:
    bound = (fan_in or parameter.shape[-1]) ** -0.5
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        parameter.uniform_(-bound, bound, generator=generator)
