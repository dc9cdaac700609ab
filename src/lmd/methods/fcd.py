"""FCD (reconstruction): look for a flat minimum, then re-balance inside it with distillation.

Li et al.: "Flat-aware cross-stage distilled framework for imbalanced medical image classification", MICCAI
2022, DOI 10.1007/978-3-031-16437-8_21. No public code and no constants exist: what follows has the paper's
structure and the constants of F2M (Shi et al., NeurIPS 2021), whose recipe it follows. For the last layers'
weights theta, and b the width of the flat region:

    stage 1    L = (1/M) sum_m CE(theta + e_m),    e_m uniform in [-b/2, b/2]
    stage 2    L = CE + lambda_d T^2 KL(p* || p) on class-balanced images, |theta - theta*| <= b/2

with theta* the end of stage 1, p* the softened posterior there, and everything but theta frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from lmd.amounts import Share
from lmd.data.feed.sampling import Sampling
from lmd.losses.classification import cross_entropy
from lmd.losses.distillation import feature_distillation, logit_distillation
from lmd.model_card import Prior
from lmd.models.network import Network, Output
from lmd.processes.collectives import average_all
from lmd.settings import CommonSettings, Count, NonNegative, Optimisation, Positive, budgets
from lmd.stages.base import Stage, StageContext
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings

PAPER = "Li et al., MICCAI 2022, DOI 10.1007/978-3-031-16437-8_21"
STATUS = "reconstruction"
PRIOR: Prior = "unknown"  # Stage 2 pulls balanced training back to the outputs of stage 1.
BUDGETS = budgets(
    smoke={"stage2": {"epochs": 1}},
    short={"stage2": {"epochs": 4}},
    auto={"stage2": {"epochs": Share(1 / 3)}},
)

Weights = dict[str, Tensor]


class FlatSettings(CrossEntropySettings):
    """Stage 1: how a flat minimum is found."""

    flat: Literal["noise", "sam"] = "noise"
    """weights for the loss: shifted by chance, or the worst within `rho` (ours: reconstruction)"""
    draws: Count = 2
    """M, random shifts in a step (ours: reconstruction, from F2M's authors' code); for `noise`"""
    rho: NonNegative = 0.05
    """length of the step to the worst weights (ours: reconstruction, from the SAM paper); for `sam`"""


class BoundedSettings(CrossEntropySettings):
    """Stage 2: re-balancing inside the flat region."""

    epochs: Count = 10
    """passes over the training images (ours: reconstruction)"""
    optimisation: Optimisation = Optimisation(lr=1e-3, schedule="cosine")
    """gradient descent of the flat weights (ours: reconstruction)"""
    sampling: Sampling = "balanced"
    """how often an epoch has an image: as often in each class (paper: re-balanced; ours: the rule)"""
    distil: Literal["logits", "features"] = "logits"
    """what is compared with stage 1: posteriors, or features by squared difference (ours: reconstruction)"""
    distillation_weight: NonNegative = 1.0
    """lambda_d, weight of the distillation (ours: reconstruction)"""
    temperature: Positive = 2.0
    """T, divisor of the logits of both posteriors (ours: reconstruction); for `logits`"""


class Settings(CommonSettings):
    """Two stages that share the flat region: its width b, and the layers it spans."""

    bound: NonNegative = 0.01
    """b, width of the flat region for each single weight (ours: reconstruction, from F2M's authors' code)"""
    flat_layers: Count = 4
    """last layers of the encoder in the region, besides the classifier (ours: reconstruction, as in F2M)"""
    stage1: FlatSettings = FlatSettings()
    """stage 1: the search for a flat minimum (paper)"""
    stage2: BoundedSettings = BoundedSettings()
    """stage 2: re-balancing inside the flat region (paper)"""


def flat_weights(network: Network, layers: int) -> dict[str, nn.Parameter]:
    """Returns by name the weights of the encoder's last layers, and the classifier's parameters.

    A weight is a parameter of two dimensions or more: BatchNorm's scales are none. Frozen ones are left out.
    """
    named = {name: value for name, value in network.named_parameters() if value.requires_grad}
    encoder = [name for name, value in named.items() if name.startswith("encoder.") and value.ndim > 1]
    classifier = [name for name in named if name.startswith("classifier.")]
    return {name: named[name] for name in (*encoder[-layers:], *classifier)}


class FlatMinimum(CrossEntropy):
    """Cross entropy at perturbed weights: random ones, or SAM's worst ones within a radius."""

    capturable = True

    def __init__(self, common: CommonSettings, stage: FlatSettings, bound: float, layers: int) -> None:
        """Keeps the settings."""
        super().__init__(common, stage)
        self.stage, self.bound, self.layers = stage, bound, layers

    def prepare(self, context: StageContext) -> None:
        """Finds the weights that are perturbed."""
        super().prepare(context)
        self.flat = flat_weights(self.network, self.layers)

    def loss(self, views: Mapping[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the mean cross entropy at the perturbed weights."""
        (images,) = views.values()
        if self.stage.flat == "sam":
            loss = self._loss_at(self._ascent(images, labels), images, labels)
        else:
            losses = [
                self._loss_at(self._noise(), images, labels, passing=number > 0)
                for number in range(self.stage.draws)
            ]
            loss = torch.stack(losses).mean()
        return {"total": loss, "cross_entropy": loss}

    def _noise(self) -> Weights:
        half = self.bound / 2
        return {name: torch.empty_like(value).uniform_(-half, half) for name, value in self.flat.items()}

    def _ascent(self, images: Tensor, labels: Tensor) -> Weights:
        """SAM's step rho g / ||g||, over all flat weights together (Foret et al., ICLR 2021)."""
        at_rest = {name: torch.zeros_like(value) for name, value in self.flat.items()}
        loss = self.share_of(labels).weighed(self._loss_at(at_rest, images, labels, passing=True))
        gradients = torch.autograd.grad(loss, list(self.flat.values()))
        average_all(gradients)
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        factor = self.stage.rho / norm.clamp(min=1e-12)
        return {name: factor * gradient for name, gradient in zip(self.flat, gradients, strict=True)}

    def _loss_at(self, shift: Weights, images: Tensor, labels: Tensor, passing: bool = False) -> Tensor:
        """The loss at shifted weights; a `passing` one leaves BatchNorm's running statistics alone.

        A step updates them once, as for every method, however many passes it has.
        """
        replaced: Weights = {name: value + shift[name] for name, value in self.flat.items()}
        if passing:
            replaced |= {name: value.clone() for name, value in self.network.named_buffers()}
        with self.context.runtime.autocast():
            output: Output = functional_call(self.network, replaced, (images,))
        return cross_entropy(output.logits.float(), labels)


class BoundedBalancing(CrossEntropy):
    """Class-balanced cross entropy and distillation, the weights kept near where the stage began."""

    capturable = True

    name = "stage2"

    def __init__(self, common: CommonSettings, stage: BoundedSettings, bound: float, layers: int) -> None:
        """Keeps the settings."""
        super().__init__(common, stage)
        self.stage, self.bound, self.layers = stage, bound, layers

    def prepare(self, context: StageContext) -> None:
        """Freezes all but the flat weights, and remembers where they are."""
        self.flat = flat_weights(context.network, self.layers)
        for name, parameter in context.network.named_parameters():
            parameter.requires_grad_(name in self.flat)
        super().prepare(context)
        self.centre = {name: value.detach().clone() for name, value in self.flat.items()}

    def set_mode(self) -> None:
        """Keeps BatchNorm in evaluation mode."""
        self.network.eval()

    def loss(self, views: Mapping[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the cross entropy and the distance from the network of stage 1."""
        (images,) = views.values()
        with self.context.runtime.autocast():
            output = self.network(images)
            with torch.no_grad():
                before: Output = functional_call(self.network, self.centre, (images,))
        terms = {
            "cross_entropy": cross_entropy(output.logits.float(), labels),
            "distillation": self._distance(output, before),
        }
        weighted = self.stage.distillation_weight * terms["distillation"]
        return {"total": terms["cross_entropy"] + weighted, **terms}

    def _distance(self, output: Output, before: Output) -> Tensor:
        if self.stage.distil == "features":
            return feature_distillation(output.features, before.features)
        return logit_distillation(output.logits.float(), before.logits.float(), self.stage.temperature)

    def after_step(self) -> None:
        """Puts each weight back into the flat region."""
        half = self.bound / 2
        with torch.no_grad():
            for name, value in self.flat.items():
                value.copy_(value.clamp(self.centre[name] - half, self.centre[name] + half))

    def state_dict(self) -> dict[str, Any]:
        """Returns the centre of the region beside the optimiser's state."""
        return {**super().state_dict(), "centre": self.centre}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        super().load_state_dict(state)
        device = self.context.runtime.device
        self.centre = {name: value.to(device) for name, value in state["centre"].items()}


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns the search for a flat minimum, and the re-balancing inside it."""
    region = (settings.bound, settings.flat_layers)
    return [
        FlatMinimum(settings, settings.stage1, *region),
        BoundedBalancing(settings, settings.stage2, *region),
    ]
