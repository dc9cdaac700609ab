"""Balanced-MixUp (Bal-Mixup): each image is mixed with one that was drawn class-balanced.

Galdran, Carneiro, Gonzalez Ballester: "Balanced-MixUp for highly imbalanced medical image classification",
MICCAI 2021. Two streams of the training images, instance-balanced (x_I, y_I) and class-balanced (x_C, y_C):

    lam ~ Beta(alpha, 1), one for each batch
    x = (1 - lam) x_I + lam x_C,    y = (1 - lam) y_I + lam y_C,    L = -(1/B) sum_i y_i . log p(x_i)

E[lam] = alpha / (1 + alpha): with 0.2, five parts in six are the instance-balanced image. lam = 0 is CE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lmd.data.feed.loader import Batch, batches_of
from lmd.data.feed.sampling import sampling_order
from lmd.losses.mixup import mixed_labels, soft_cross_entropy
from lmd.model_card import Prior
from lmd.processes.shares import Share
from lmd.runtime import derive_seed
from lmd.settings import CommonSettings, Positive, budgets
from lmd.stages.base import Stage
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings

PAPER = "Galdran, Carneiro and Gonzalez Ballester, MICCAI 2021, arXiv 2109.09850"
STATUS = "baseline of the paper"
PRIOR: Prior = "unknown"  # Its targets mix the training frequency with a uniform one.
BUDGETS = budgets()


class MixupSettings(CrossEntropySettings):
    """The one stage; `sampling` is that of the first stream."""

    alpha: Positive = 0.2
    """first parameter of Beta(alpha, 1), from which lam is drawn (paper: one of 0.1, 0.2, 0.3)"""


class Settings(CommonSettings):
    """Balanced-MixUp's settings."""

    stage1: MixupSettings = MixupSettings()
    """the one stage: cross entropy on mixed images (paper)"""


class BalancedMixup(CrossEntropy):
    """Cross entropy on mixtures of two streams of images."""

    capturable = True

    def __init__(self, common: CommonSettings, stage: MixupSettings) -> None:
        """Keeps alpha."""
        super().__init__(common, stage)
        self.alpha = stage.alpha

    def order(self, epoch: int) -> np.ndarray:
        """Returns the rows of both streams, [N, 2]."""
        seed = derive_seed(self.common.seed, self.name, "second stream")
        balanced = sampling_order("balanced", self.context.train.labels.numpy(), seed, epoch)
        return np.stack([super().order(epoch), balanced], axis=1)

    def batches(self, order: np.ndarray) -> Iterator[Batch]:
        """Yields batches whose first half is of the first stream and whose second half of the second."""
        streams = (part.T.reshape(-1) for part in self.parts(order))
        return batches_of(self.context.train, streams, self.context.runtime.device)

    def draws(self, share: Share) -> dict[str, Any]:
        """Returns lam, one for the batch."""
        return {"mix": draw_weight(self.alpha)}

    def loss(self, views: Mapping[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the cross entropy of the mixed labels on the mixed images."""
        (images,) = views.values()
        (first, second), (label, other) = images.chunk(2), labels.chunk(2)
        weight = self.drawn(label)["mix"]
        with self.context.runtime.autocast():
            output = self.network((1 - weight) * first + weight * second)
        targets = mixed_labels(label, other, weight, self.context.train.num_classes)
        loss = soft_cross_entropy(output.logits.float(), targets)
        return {"total": loss, "cross_entropy": loss}


def draw_weight(alpha: float) -> Tensor:
    """Returns lam ~ Beta(alpha, 1), from torch's global generator: its distribution function is lam^alpha.

    >>> _ = torch.manual_seed(0)
    >>> mean = torch.stack([draw_weight(0.2) for _ in range(20000)]).mean()
    >>> abs(float(mean) - 0.2 / 1.2) < 0.01
    True
    """
    return torch.rand(()) ** (1 / alpha)


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns the one stage."""
    return [BalancedMixup(settings, settings.stage1)]
