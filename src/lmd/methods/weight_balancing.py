"""Weight balancing (CB+WD+Max): strong weight decay, then a re-weighted classifier with bounded norms.

Alshammari, Wang, Ramanan, Kong: "Long-tailed recognition via weight balancing", CVPR 2022. Stage 1 is cross
entropy with a weight decay that is tuned: it is the method. Stage 2 keeps encoder and classifier and trains
the classifier alone with the class-balanced loss, a strong decay and, after each step, a projection:

    L = -(1/B) sum_i w_{y_i} log p_{y_i},    w_k = (1 - beta) / (1 - beta^n_k), scaled to a mean of 1
    w_k <- w_k min(1, delta / ||w_k||),      delta = min ||w_k|| + 0.1 (max ||w_k|| - min ||w_k||)

with delta from the classifier of stage 1. The bias is not bounded.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lmd.data.feed.sampling import Sampling, effective_weights
from lmd.losses.class_balanced import weighted_binary_cross_entropy, weighted_cross_entropy
from lmd.model_card import Prior
from lmd.settings import CommonSettings, Count, Fraction, Optimisation, budgets
from lmd.stages.adjustment import linear_classifier
from lmd.stages.base import Stage, StageContext
from lmd.stages.classifier_training import ClassifierSettings, ClassifierTraining
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings

PAPER = "Alshammari, Wang, Ramanan and Kong, CVPR 2022, arXiv 2203.14197"
STATUS = "baseline of the paper"
PRIOR: Prior = "unknown"  # Weighted classes, and bounded norms.
BUDGETS = budgets()

LOSSES = {"weighted_ce": weighted_cross_entropy, "bce": weighted_binary_cross_entropy}


class DecaySettings(CrossEntropySettings):
    """Stage 1: cross entropy with strong weight decay."""

    optimisation: Optimisation = Optimisation(weight_decay=5e-3)
    """gradient descent of the stage (decay: authors' code, CIFAR100-LT; the rest: as in `ce`)"""


class BalancingSettings(ClassifierSettings):
    """Stage 2: the class-balanced loss on the kept classifier."""

    epochs: Count = 10
    """passes over the cached features (authors' code)"""
    optimisation: Optimisation = Optimisation(lr=0.01, weight_decay=0.1, schedule="cosine")
    """gradient descent of the classifier (authors' code)"""
    sampling: Sampling = "instance"
    """how often an epoch has an image's features: each once (authors' code), or by another rule"""
    classifier: Literal["new", "kept"] = "kept"
    """go on with the classifier of stage 1 (paper), or train a new one"""
    cb_form: Literal["weighted_ce", "bce"] = "weighted_ce"
    """class-balanced loss: cross entropy (ours), or binary cross entropy of the softmax (authors' code)"""
    beta: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9999
    """beta of the effective number of images, (1 - beta^n) / (1 - beta) (authors' code)"""
    max_norm: Fraction = 0.1
    """delta's place between the smallest norm of a class (0) and the largest (1) (authors' code)"""


class Settings(CommonSettings):
    """Two stages: weight decay, then the balanced classifier."""

    stage1: DecaySettings = DecaySettings()
    """stage 1: cross entropy with strong weight decay (paper)"""
    stage2: BalancingSettings = BalancingSettings()
    """stage 2: the classifier, class-balanced and bounded (paper)"""


class WeightBalancing(ClassifierTraining):
    """Trains the classifier with a weight for each class and a bound on each class's norm."""

    capturable = True

    def __init__(self, common: CommonSettings, stage: BalancingSettings, counts: np.ndarray) -> None:
        """Computes the weights of the classes."""
        super().__init__(common, stage)
        self.stage = stage
        self.class_weights = torch.from_numpy(effective_weights(counts, stage.beta)).float()

    def prepare(self, context: StageContext) -> None:
        """Takes the bound from the classifier as stage 1 left it."""
        super().prepare(context)
        self.class_weights = self.class_weights.to(context.runtime.device)
        self.bound = norm_bound(linear_classifier(context).weight.detach(), self.stage.max_norm)

    def criterion(self, logits: Tensor, labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the class-balanced loss."""
        return {"class_balanced": LOSSES[self.stage.cb_form](logits, labels, self.class_weights)}

    def after_step(self) -> None:
        """Projects the classifier back into its bound.

        Paper: after each iteration, and so it is here; the authors' demo does it once in an epoch.
        """
        weight = linear_classifier(self.context).weight
        with torch.no_grad():
            weight.copy_(bound_norms(weight, self.bound))

    def state_dict(self) -> dict[str, Any]:
        """Returns the bound beside the optimiser's state: the classifier it came from has changed."""
        return {**super().state_dict(), "bound": self.bound}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        super().load_state_dict(state)
        self.bound = state["bound"].to(self.context.runtime.device)


def norm_bound(weight: Tensor, place: float) -> Tensor:
    """Returns delta: `place` of the way from the smallest norm of a row to the largest.

    >>> norm_bound(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), 0.5)
    tensor(2.)
    """
    norms = weight.norm(dim=1)
    return norms.min() + place * (norms.max() - norms.min())


def bound_norms(weight: Tensor, bound: Tensor) -> Tensor:
    """Returns the rows of a classifier, the longer ones shortened to the bound.

    >>> bound_norms(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor(2.0))
    tensor([[1., 0.],
            [0., 2.]])
    """
    norms = weight.norm(dim=1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
    return weight * (bound / norms).clamp(max=1.0)


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns cross entropy with weight decay, and the balanced classifier."""
    return [CrossEntropy(settings, settings.stage1), WeightBalancing(settings, settings.stage2, counts)]
