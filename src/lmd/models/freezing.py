"""Parts of an encoder that a training leaves as they are."""

from __future__ import annotations

from types import MethodType
from typing import Any, cast

from torch import nn


def freeze(encoder: nn.Module, which: str) -> None:
    """Freezes all of an encoder ("all"), its first layers ("stem"), or nothing ("none").

    No gradient is computed for frozen weights, so that no optimiser moves them, by decay or momentum either.
    A frozen module stays in evaluation mode, whoever calls `train`: BatchNorm normalises by the running
    statistics it has, and keeps them.
    """
    if which == "none":
        return
    named = dict(encoder.named_parameters())
    for name in named if which == "all" else stem(encoder):
        named[name].requires_grad_(False)
    for part in encoder.modules():
        parameters = list(part.parameters())
        if which == "all" or (parameters and not any(value.requires_grad for value in parameters)):
            _keep_at_rest(part)


def stem(encoder: nn.Module) -> list[str]:
    """Returns the names of the parameters of the encoder's first layers.

    They are what timm calls the stem of that network: the first convolution with its BatchNorm (ResNet), or
    the patches with their positions (ViT). Where timm does not say, it is the first module with parameters.
    """
    from timm.models import group_parameters

    matcher: Any = getattr(encoder, "group_matcher", None)
    try:
        groups: Any = group_parameters(encoder, matcher(coarse=True)) if matcher else {}
    except AssertionError:  # So timm says that it has not grouped this network.
        return _first_module(encoder)
    return groups[min(groups)] if groups else _first_module(encoder)


def _first_module(encoder: nn.Module) -> list[str]:
    first = next(name for name, part in encoder.named_children() if any(True for _ in part.parameters()))
    return [name for name, _ in encoder.named_parameters() if name.startswith(f"{first}.")]


def _keep_at_rest(part: nn.Module) -> None:
    """Puts one module into evaluation mode for good; a copy of it, such as a teacher's, stays there too."""
    part.training = False
    cast("Any", part).train = MethodType(_stay, part)


def _stay(part: nn.Module, mode: bool = True) -> nn.Module:
    return part


def is_frozen(part: nn.Module) -> bool:
    """Returns whether `freeze` has frozen this module, all of it."""
    return "train" in vars(part)
