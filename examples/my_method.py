"""Root weighting: cross entropy in which a class of N_k images weighs (N_max / N_k)^power.

An example of a method of your own, explained in docs/methods/own.md. Try it:

    lmd train DATA --method examples/my_method.py --set stage1.power=0.3 --out RUN
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lmd.settings import CommonSettings, Fraction, budgets
from lmd.stages.base import Stage, Supervised, SupervisedSettings

PAPER = "none: an example"
STATUS = "example"
PRIOR = "unknown"  # Of the weighted classes: neither that of the images nor a uniform one.
BUDGETS = budgets()


class WeightedSettings(SupervisedSettings):
    """Epochs, optimisation and sampling as every method has them, and one number of our own."""

    power: Fraction = 0.5
    """exponent of N_max / N_k, the weight of a class (ours); 0: plain cross entropy"""


class Settings(CommonSettings):
    """What `--set` and recipes may change."""

    stage1: WeightedSettings = WeightedSettings()
    """the one stage: weighted cross entropy (ours)"""


class WeightedCrossEntropy(Supervised):
    """Gradient descent on the weak view; checkpoints, resume and the optimiser come from `Supervised`."""

    def __init__(self, common: CommonSettings, stage: WeightedSettings, counts: np.ndarray) -> None:
        """Computes the weight of each class."""
        super().__init__(common, stage)
        self.weights = torch.from_numpy((counts.max() / counts) ** stage.power).float()

    def loss(self, views: Mapping[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the named terms of a batch; "total" is minimised, all are logged."""
        with self.context.runtime.autocast():
            logits = self.network(views["weak"]).logits
        return {"total": F.cross_entropy(logits.float(), labels, self.weights.to(logits.device))}


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns the stages, in order; `counts` are the training images of each class."""
    return [WeightedCrossEntropy(settings, settings.stage1, counts)]
