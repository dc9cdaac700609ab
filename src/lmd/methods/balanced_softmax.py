"""Balanced softmax: cross entropy of the logits plus the logarithm of the classes' counts.

Ren et al.: "Balanced meta-softmax for long-tailed visual recognition", NeurIPS 2020 (without its
meta-sampler).

    L = -(1/B) sum_i log softmax(s_i + log n)_{y_i}

Prediction leaves the counts out: its answer is for classes that are equally frequent. It is
`logit-adjustment` with `variant: loss` and tau = 1.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lmd.losses.prior import prior_cross_entropy
from lmd.model_card import Prior
from lmd.settings import CommonSettings, budgets
from lmd.stages.base import Stage
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings

PAPER = "Ren et al., NeurIPS 2020, arXiv 2007.10740"
STATUS = "beyond the paper"
PRIOR: Prior = "uniform"  # The loss adds log n_k, which the outputs therefore lack.
BUDGETS = budgets()


class Settings(CommonSettings):
    """One stage."""

    stage1: CrossEntropySettings = CrossEntropySettings()
    """the one stage: cross entropy of the logits plus log n (paper)"""


class BalancedSoftmax(CrossEntropy):
    """Supervised training with the counts in the logits."""

    capturable = True

    def __init__(self, common: CommonSettings, stage: CrossEntropySettings, counts: np.ndarray) -> None:
        """Keeps the counts."""
        super().__init__(common, stage)
        self.counts = torch.from_numpy(counts)

    def criterion(self, logits: Tensor, labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the cross entropy of s + log n."""
        return {"balanced_softmax": prior_cross_entropy(logits, labels, self.counts)}


def prior(settings: Settings) -> Prior:
    """Returns "uniform" where each image is seen once; the loss takes out the frequency of such images."""
    return "uniform" if settings.stage1.sampling == "instance" else "unknown"


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns the one stage."""
    return [BalancedSoftmax(settings, settings.stage1, counts)]
