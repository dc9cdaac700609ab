"""The stage of focal and cb-focal: a focal loss of softmax probabilities or of K sigmoids."""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from pydantic import ValidationInfo, field_validator
from torch import Tensor

from lmd.losses.focal import focal_loss, sigmoid_focal_loss
from lmd.models.classifier import LinearClassifier
from lmd.settings import CommonSettings, Fraction, NonNegative
from lmd.stages.base import StageContext
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings


class FocalSettings(CrossEntropySettings):
    """A stage of focal loss."""

    form: Literal["softmax", "sigmoid"] = "softmax"
    """one softmax (ours: the LMD paper does not say), or a sigmoid for each class (paper)"""
    gamma: NonNegative = 2.0
    """exponent of (1 - p), the weight of an image (paper)"""
    alpha: Fraction | None = None
    """weight of the label's sigmoid, 1 - alpha that of the others (paper of focal loss: 0.25; ours: none)"""

    @field_validator("alpha")
    @classmethod
    def _refuse_alpha_of_softmax(cls, alpha: float | None, info: ValidationInfo) -> float | None:
        if alpha is not None and info.data.get("form") == "softmax":
            raise ValueError("it belongs to form sigmoid, and the form is softmax")
        return alpha


class FocalTraining(CrossEntropy):
    """Supervised training with a focal loss, each class weighted by `weights` [K] where given."""

    capturable = True

    def __init__(self, common: CommonSettings, stage: FocalSettings, weights: Tensor | None = None) -> None:
        """Keeps the settings and the weights."""
        super().__init__(common, stage)
        self.stage = stage
        self.weights = weights

    def prepare(self, context: StageContext) -> None:
        """Starts the sigmoids at the probability 1/K, and lets no weight decay pull that bias to 0."""
        super().prepare(context)
        if self.stage.form == "softmax":
            return
        bias = cast("LinearClassifier", self.network.classifier).bias
        with torch.no_grad():
            bias.fill_(-math.log(max(context.train.num_classes - 1, 1)))
        group = self.optimiser.param_groups[0]
        group["params"] = [parameter for parameter in group["params"] if parameter is not bias]
        self.optimiser.add_param_group({"params": [bias], "weight_decay": 0.0})

    def criterion(self, logits: Tensor, labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the focal loss in the chosen form."""
        gamma, alpha = self.stage.gamma, self.stage.alpha
        if self.stage.form == "softmax":
            return {"focal": focal_loss(logits, labels, gamma, self.weights)}
        return {"focal": sigmoid_focal_loss(logits, labels, gamma, alpha, self.weights)}
