"""Focal loss: images that the network is sure of count less.

Lin, Goyal, Girshick, He, Dollar: "Focal loss for dense object detection", ICCV 2017.

    softmax (default)   -(1 - p_y)^gamma log p_y
    sigmoid             -sum_k a_k (1 - q_k)^gamma log q_k,   q_k that of the right decision on class k

The LMD paper does not say which form its row is. The sigmoid form starts the bias of the classifier at
-log((1 - pi) / pi) with pi = 1/K, which is exempt from weight decay.
"""

from __future__ import annotations

import numpy as np

from lmd.model_card import Prior
from lmd.settings import CommonSettings, budgets
from lmd.stages.base import Stage
from lmd.stages.focal import FocalSettings, FocalTraining

PAPER = "Lin et al., ICCV 2017, arXiv 1708.02002"
STATUS = "baseline of the paper"
PRIOR: Prior = "unknown"  # A focal loss does not give probabilities.
BUDGETS = budgets()


class Settings(CommonSettings):
    """One stage."""

    stage1: FocalSettings = FocalSettings()
    """the one stage: focal loss (paper)"""


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns the one stage."""
    return [FocalTraining(settings, settings.stage1)]
