"""CB-Focal: a focal loss in which each class weighs the inverse of its effective number of images.

Cui, Jia, Lin, Song, Belongie: "Class-balanced loss based on effective number of samples", CVPR 2019.

    w_k proportional to (1 - beta) / (1 - beta^n_k), rescaled so that they sum to K
    L = (1/B) sum_i w_{y_i} focal_i

`focal` is the sum over K sigmoids, as in the authors' code, or the softmax form. The bias of the classifier
starts at -log((1 - pi) / pi) with pi = 1/K and is exempt from weight decay.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from lmd.data.feed.sampling import effective_weights
from lmd.model_card import Prior
from lmd.settings import CommonSettings, NonNegative, budgets
from lmd.stages.base import Stage
from lmd.stages.focal import FocalSettings, FocalTraining

PAPER = "Cui et al., CVPR 2019, arXiv 1901.05555"
STATUS = "baseline of the paper"
PRIOR: Prior = "unknown"  # Weights of classes and of images, and a focal loss does not give probabilities.
BUDGETS = budgets()


class CbFocalSettings(FocalSettings):
    """A stage of focal loss, the classes weighted."""

    form: Literal["softmax", "sigmoid"] = "sigmoid"
    """a sigmoid for each class (authors' code), or one softmax"""
    gamma: NonNegative = 1.0
    """exponent of (1 - q), the weight of a decision (authors' code: the script that it ships)"""
    beta: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9999
    """beta of the effective number of images, (1 - beta^n) / (1 - beta) (authors' code: its script)"""


class Settings(CommonSettings):
    """One stage."""

    stage1: CbFocalSettings = CbFocalSettings()
    """the one stage: focal loss with a weight for each class (paper)"""


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns the one stage."""
    weights = torch.from_numpy(effective_weights(counts, settings.stage1.beta))
    return [FocalTraining(settings, settings.stage1, weights)]
