"""Logit adjustment (LA): take the frequency of the classes out of the logits, after training or during it.

Menon et al.: "Long-tail learning via logit adjustment", ICLR 2021.

    post_hoc (default)   train with cross entropy, then b_k <- b_k - tau log pi_k
    loss                 train with the cross entropy of s_k + tau log pi_k

pi_k is a class's share of the training images. The tau of the paper is the setting `adjustment`: it goes into
the weights. `adjustment: null` takes, for `post_hoc`, that of 0, 0.1 ... 3 with the best balanced accuracy on
validation. The setting `tau`, which every method has, shifts the decisions a second time; it is 0.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import ValidationInfo, field_validator, model_validator
from torch import Tensor

from lmd.losses.prior import prior_cross_entropy
from lmd.model_card import Prior
from lmd.settings import CommonSettings, NonNegative, budgets
from lmd.stages.base import Stage
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings
from lmd.stages.logit_adjustment import LogitAdjustment, prior_after, refuse_tau_alone

PAPER = "Menon et al., ICLR 2021, arXiv 2007.07314"
STATUS = "beyond the paper"
PRIOR: Prior = "uniform"  # At adjustment = 1; `prior` has the others.
BUDGETS = budgets()


class Settings(CommonSettings):
    """Cross entropy and an adjustment, or one stage that has it in its loss."""

    variant: Literal["post_hoc", "loss"] = "post_hoc"
    """adjust the trained classifier (ours; the paper has both), or train with the prior in the loss"""
    adjustment: NonNegative | None = 1.0
    """factor on log pi_k in the weights (paper: tau = 1); null: best on validation (ours), for `post_hoc`"""
    stage1: CrossEntropySettings = CrossEntropySettings()
    """stage 1: cross entropy, plain or with the prior (paper)"""

    _both_named = model_validator(mode="before")(refuse_tau_alone)

    @field_validator("adjustment")
    @classmethod
    def _refuse_a_loss_without_it(cls, adjustment: float | None, info: ValidationInfo) -> float | None:
        if adjustment is None and info.data.get("variant") == "loss":
            raise ValueError("variant loss needs a number; only post_hoc can choose it, after training")
        return adjustment


class AdjustedTraining(CrossEntropy):
    """Supervised training with the prior in the logits."""

    capturable = True

    def __init__(self, settings: Settings, strength: float, counts: np.ndarray) -> None:
        """Keeps the strength a and the counts."""
        super().__init__(settings, settings.stage1)
        self.strength = strength
        self.counts = torch.from_numpy(counts)

    def criterion(self, logits: Tensor, labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the cross entropy of s + a log pi."""
        return {"adjusted_cross_entropy": prior_cross_entropy(logits, labels, self.counts, self.strength)}


def prior(settings: Settings) -> Prior:
    """Returns what is left of the frequency of classes: nothing at adjustment = 1, all of it at 0."""
    return prior_after(settings.stage1.sampling, settings.adjustment)


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns cross entropy and the adjustment, or the one stage with the adjusted loss."""
    if settings.variant == "loss" and settings.adjustment is not None:
        return [AdjustedTraining(settings, settings.adjustment, counts)]
    return [CrossEntropy(settings, settings.stage1), LogitAdjustment(settings, settings.adjustment)]
