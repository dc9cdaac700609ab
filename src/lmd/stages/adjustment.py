"""A stage that changes a trained classifier without training it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lmd.errors import SettingsError
from lmd.models.classifier import LinearClassifier
from lmd.models.inference import encode
from lmd.models.network import Network
from lmd.settings import CommonSettings
from lmd.stages.base import StageContext
from lmd.stages.optimisation import Losses


class Adjustment:
    """A stage of one epoch without training: override `adjust`, which changes the network."""

    name = "stage2"
    epochs = 1

    def __init__(self, common: CommonSettings) -> None:
        """Keeps the settings."""
        self.common = common

    def prepare(self, context: StageContext) -> None:
        """Takes the network over."""
        self.context = context
        self.network = context.network

    def run_epoch(self, epoch: int) -> Losses:
        """Adjusts the network and returns the numbers worth logging."""
        self.network.eval()
        with torch.no_grad():
            numbers = self.adjust()
        self.context.offer()
        return numbers

    def adjust(self) -> Losses:
        """Changes the network; returns named numbers for the log."""
        return {}

    def deliver(self) -> Network:
        """Returns the network as it is now."""
        return self.network

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing: the network holds all."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes nothing back."""

    def artefacts(self) -> dict[str, Tensor]:
        """Returns nothing: an adjustment leaves only its network."""
        return {}


def linear_classifier(context: StageContext) -> LinearClassifier:
    """Returns the classifier of stage 1, which has to be linear.

    Raises:
        SettingsError: it is of another kind.
    """
    classifier = context.network.classifier
    if not isinstance(classifier, LinearClassifier):
        raise SettingsError(f"this needs a linear classifier in stage 1, found {type(classifier).__name__}")
    return classifier


def best_on_validation(
    context: StageContext, setting: str, logits: Callable[[Tensor, float], Tensor], highest: float = 2.0
) -> float:
    """Returns the value of a setting, of 0, 0.1 ... `highest`, with the best balanced accuracy on validation.

    `logits(features, value)` are what is judged. The smallest of equals wins.

    Raises:
        SettingsError: there is no validation split.
    """
    val = context.val
    if val is None:
        raise SettingsError(f"'{setting}' is to be chosen on validation, which has no images: set it")
    features = encode(context.network, val, context.runtime).features
    grid = [step / 10 for step in range(round(highest * 10) + 1)]
    return max(grid, key=lambda value: balanced_hits(logits(features, value), val.labels))


def balanced_hits(logits: Tensor, labels: Tensor) -> float:
    """Returns the balanced accuracy of logits [N, K], over the classes that `labels` has."""
    hits = (logits.argmax(1).cpu() == labels).double()
    return float(torch.stack([hits[labels == k].mean() for k in labels.unique()]).mean())
