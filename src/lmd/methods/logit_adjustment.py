"""Logit adjustment (LA): take the frequency of the classes out of the logits, after training or during it.

Menon et al.: "Long-tail learning via logit adjustment", ICLR 2021.

    post_hoc (default)   train with cross entropy, then b_k <- b_k - tau log pi_k
    loss                 train with the cross entropy of s_k + tau log pi_k

pi_k is a class's share of the training images. `tau: null` takes, for `post_hoc`, the tau of 0, 0.1 ... 3
with the best balanced accuracy on validation.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import ValidationInfo, field_validator
from torch import Tensor

from lmd.losses.prior import prior_cross_entropy
from lmd.settings import CommonSettings, NonNegative, budgets
from lmd.stages.base import Stage
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings
from lmd.stages.logit_adjustment import LogitAdjustment

PAPER = "Menon et al., ICLR 2021, arXiv 2007.07314"
STATUS = "beyond the paper"
BUDGETS = budgets()


class Settings(CommonSettings):
    """Cross entropy and an adjustment, or one stage that has it in its loss."""

    variant: Literal["post_hoc", "loss"] = "post_hoc"
    """adjust the trained classifier (ours; the paper has both), or train with the prior in the loss"""
    tau: NonNegative | None = 1.0
    """factor on log pi_k (paper: 1); null: the best of 0, 0.1 ... 3 on validation (ours), for `post_hoc`"""
    stage1: CrossEntropySettings = CrossEntropySettings()
    """stage 1: cross entropy, plain or with the prior (paper)"""

    @field_validator("tau")
    @classmethod
    def _refuse_a_loss_without_tau(cls, tau: float | None, info: ValidationInfo) -> float | None:
        if tau is None and info.data.get("variant") == "loss":
            raise ValueError("variant loss needs a number; only post_hoc can choose tau, after training")
        return tau


class AdjustedTraining(CrossEntropy):
    """Supervised training with the prior in the logits."""

    def __init__(self, settings: Settings, tau: float, counts: np.ndarray) -> None:
        """Keeps tau and the counts."""
        super().__init__(settings, settings.stage1)
        self.tau = tau
        self.counts = torch.from_numpy(counts)

    def criterion(self, logits: Tensor, labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the cross entropy of s + tau log pi."""
        return {"adjusted_cross_entropy": prior_cross_entropy(logits, labels, self.counts, self.tau)}


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns cross entropy and the adjustment, or the one stage with the adjusted loss."""
    if settings.variant == "loss" and settings.tau is not None:
        return [AdjustedTraining(settings, settings.tau, counts)]
    return [CrossEntropy(settings, settings.stage1), LogitAdjustment(settings, settings.tau)]
