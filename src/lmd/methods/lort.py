"""LORT (logits retargeting, label over-smoothing): re-train the classifier on targets hardly above 1/K.

Sun, Lu et al.: "Rethinking classifier re-training in long-tailed recognition: label over-smooth can
balance", ICLR 2025; "a simple logits retargeting approach" in the preprint. Stage 1 is cross entropy; then,
with the encoder frozen and the classifier kept, cross entropy to the targets

    t_y = 1 - d + d/K,   t_k = d/K for the other classes,   d = 0.98

It needs no class counts and samples each image once.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from torch import Tensor

from lmd.data.feed.sampling import Sampling
from lmd.losses.smoothing import smoothed_cross_entropy
from lmd.model_card import Prior
from lmd.settings import CommonSettings, Count, Decay, Optimisation, budgets
from lmd.stages.base import Stage
from lmd.stages.classifier_training import ClassifierSettings, ClassifierTraining
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings

PAPER = "Sun et al., ICLR 2025, arXiv 2403.00250"
STATUS = "beyond the paper"
PRIOR: Prior = "unknown"  # Targets that are all but equal do not give probabilities.
BUDGETS = budgets()


class LortSettings(ClassifierSettings):
    """Stage 2: the classifier goes on with over-smoothed labels."""

    epochs: Count = 20
    """passes over the cached features (authors' code)"""
    optimisation: Optimisation = Optimisation(lr=5e-4, schedule="cosine")
    """gradient descent of the classifier (authors' code, there at batch 64)"""
    sampling: Sampling = "instance"
    """how often an epoch has an image's features: each once (authors' code), or by another rule"""
    classifier: Literal["new", "kept"] = "kept"
    """go on with the classifier of stage 1 (authors' code), or train a new one"""
    smoothing: Decay = 0.98
    """d, share of the target that all classes have alike (authors' code: CIFAR-100-LT)"""


class Settings(CommonSettings):
    """Two stages: cross entropy, then the classifier."""

    stage1: CrossEntropySettings = CrossEntropySettings()
    """stage 1: cross entropy (paper)"""
    stage2: LortSettings = LortSettings()
    """stage 2: the classifier, on over-smoothed labels (paper)"""


class Retargeting(ClassifierTraining):
    """Trains the classifier on over-smoothed labels."""

    capturable = True

    def __init__(self, common: CommonSettings, stage: LortSettings) -> None:
        """Keeps the smoothing."""
        super().__init__(common, stage)
        self.smoothing = stage.smoothing

    def criterion(self, logits: Tensor, labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the cross entropy to the smoothed labels."""
        return {"smoothed_cross_entropy": smoothed_cross_entropy(logits, labels, self.smoothing)}


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns cross entropy and the retargeting."""
    return [CrossEntropy(settings, settings.stage1), Retargeting(settings, settings.stage2)]
