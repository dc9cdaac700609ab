"""Stages after the encoder is trained: a classifier on cached features, or an adjustment without training.

The encoder is frozen, BatchNorm at rest: each training image is encoded once, unaugmented, and every
method of this kind then costs seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from lmd.data.feed.loader import Batch
from lmd.data.feed.sampling import Sampling
from lmd.errors import SettingsError
from lmd.losses.classification import cross_entropy
from lmd.losses.prior import log_prior
from lmd.models.classifier import LinearHead
from lmd.models.inference import encode
from lmd.models.network import Network
from lmd.settings import CommonSettings, Count, Optimisation
from lmd.stages.base import Losses, StageContext, Supervised, SupervisedSettings


class HeadSettings(SupervisedSettings):
    """A classifier on frozen features: 10 epochs of SGD, class-balanced (Kang et al., ICLR 2020)."""

    epochs: Count = 10
    optimisation: Optimisation = Optimisation(lr=0.1, weight_decay=5e-4, schedule="cosine")
    sampling: Sampling = "balanced"
    classifier: Literal["new", "kept"] = "new"


class HeadTraining(Supervised):
    """Trains the classifier alone, on the cached features of clean images; override `criterion`."""

    name = "stage2"

    def __init__(self, common: CommonSettings, stage: HeadSettings) -> None:
        """Keeps the settings; a new classifier is linear unless a subclass says otherwise."""
        super().__init__(common, stage)
        self.features: Tensor | None = None
        if stage.classifier == "new" and self.head is None:
            self.head = ("linear", None)
        elif stage.classifier == "kept":
            self.head = None

    def trained(self) -> nn.Module:
        """Returns the classifier."""
        return self.network.classifier

    def set_mode(self) -> None:
        """Leaves the network at rest, and encodes the training images on the first call."""
        self.network.eval()
        if self.features is None:
            # Not in `prepare`: a run that goes on has not loaded its weights there.
            self.features = encode(self.network, self.context.train, self.context.runtime).features.clone()

    def batches(self, order: np.ndarray) -> Iterator[Batch]:
        """Yields features in the place of images."""
        assert self.features is not None
        labels, device, size = self.context.train.labels, self.context.runtime.device, self.common.batch
        for start in range(0, max(len(order) // size, 1) * size, size):
            index = torch.from_numpy(order[start : start + size])
            yield Batch(self.features[index.to(device)], labels[index].to(device), index)

    def views(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        """Returns the features as the only view."""
        return {"features": batch.images}

    def loss(self, views: dict[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the criterion on the classifier's logits, under its own name and as the total."""
        terms = self.criterion(self.network.classifier(views["features"]), labels, epoch)
        return {"total": next(iter(terms.values())), **terms}

    def criterion(self, logits: Tensor, labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the named terms of the logits; the first is minimised."""
        return {"cross_entropy": cross_entropy(logits, labels)}


class Adjustment:
    """A stage of one epoch without training: override `adjust`, which changes the network at rest."""

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
            return self.adjust()

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


def linear_classifier(context: StageContext) -> LinearHead:
    """Returns the classifier of stage 1, which has to be linear.

    Raises:
        SettingsError: it is of another kind.
    """
    head = context.network.classifier
    if not isinstance(head, LinearHead):
        raise SettingsError(f"this needs a linear classifier in stage 1, found {type(head).__name__}")
    return head


class LogitAdjustment(Adjustment):
    """Post-hoc logit adjustment: s_k <- s_k - tau log pi_k, pi_k = N_k / N (Menon et al., ICLR 2021).

    A linear classifier takes the constant into its bias and stays an ordinary linear one.
    """

    def __init__(self, common: CommonSettings, tau: float | None) -> None:
        """Keeps tau; None is the best of 0, 0.1 ... 3 on validation."""
        super().__init__(common)
        self.tau = tau

    def prepare(self, context: StageContext) -> None:
        """Takes the network over; its classifier has to be linear."""
        super().prepare(context)
        linear_classifier(context)

    def adjust(self) -> Losses:
        """Changes the bias."""
        head = linear_classifier(self.context)
        weight, bias = head.weight, head.bias.detach().clone()
        prior = log_prior(torch.from_numpy(self.context.train.counts)).to(bias)
        tau = self.tau
        if tau is None:
            tau = choose_tau(
                self.context, lambda z, tau: nn.functional.linear(z, weight, bias - tau * prior), highest=3.0
            )
        head.bias.copy_(bias - tau * prior)
        return {"tau": tau}


def choose_tau(
    context: StageContext, logits: Callable[[Tensor, float], Tensor], highest: float = 2.0
) -> float:
    """Returns the tau of 0, 0.1 ... `highest` with the best balanced accuracy on validation, never on test.

    `logits(features, tau)` are what is judged. The smallest of equals wins.

    Raises:
        SettingsError: there is no validation split.
    """
    val = context.val
    if val is None:
        raise SettingsError("tau is to be chosen on validation, which has no images: set it")
    features = encode(context.network, val, context.runtime).features
    grid = [step / 10 for step in range(round(highest * 10) + 1)]
    return max(grid, key=lambda tau: balanced_hits(logits(features, tau), val.labels))


def balanced_hits(logits: Tensor, labels: Tensor) -> float:
    """Returns the balanced accuracy of logits [N, K], over the classes that `labels` has."""
    hits = (logits.argmax(1).cpu() == labels).double()
    return float(torch.stack([hits[labels == k].mean() for k in labels.unique()]).mean())
