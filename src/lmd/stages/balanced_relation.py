"""Stage 1 of LMD+: RRL with balanced logits, mixed images, and steps that look uphill first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lmd.data.feed.loader import Batch
from lmd.losses.mixup import mixed_labels, soft_cross_entropy
from lmd.losses.prior import log_prior
from lmd.models.network import Output
from lmd.processes.shares import Share
from lmd.settings import CommonSettings, Fraction, NonNegative
from lmd.stages.base import StageContext
from lmd.stages.relation import RelationLearning, RelationSettings
from lmd.stages.sharpness import SharpnessSettings, focal_weights, moved_uphill, same_statistics


class BalancedRelationSettings(RelationSettings):
    """RRL's settings, and what LMD+ adds; each addition can be left out."""

    balance: NonNegative = 1.0
    """factor on log pi in the logits of both losses: 1 is balanced softmax (Ren et al.), 0 is RRL (ours)"""
    mixup: NonNegative = 0.0
    """alpha of mixup's Beta(alpha, alpha), the same mixture in both views (ours); 0: no mixup"""
    mixup_first: Fraction = 0.67
    """the part of the stage, its beginning, that mixes images (ours)"""
    sharpness: SharpnessSettings = SharpnessSettings()
    """sharpness-aware steps at the end of the stage (ours)"""


class BalancedRelation(RelationLearning):
    """RRL whose losses see s_k + b log pi_k, b = `balance`.

    On images mixed with weight w, x = (1 - w) x_i + w x_j in each view, the cross entropy is that to the
    labels mixed alike. The teacher sees the mixed weak view, so that both views still show the same.
    """

    capturable = True

    def __init__(self, common: CommonSettings, stage: BalancedRelationSettings, counts: np.ndarray) -> None:
        """Keeps the settings and the shares of the classes."""
        super().__init__(common, stage)
        self.plus = stage
        self.shift = stage.balance * log_prior(torch.from_numpy(counts)).float()
        shares = torch.from_numpy(counts / counts.sum()).float()
        self.focus = focal_weights(shares, stage.sharpness.focus)

    def prepare(self, context: StageContext) -> None:
        """Makes the teacher, and finds the weights that steps uphill move."""
        super().prepare(context)
        self.movable = [weight for weight in self.network.parameters() if weight.requires_grad]

    def changing(self, epoch: int, moment: float) -> dict[str, Any]:
        """Returns what changes in RRL, whether images are mixed, and the radius where steps look uphill.

        Steps without a radius have no such number, so that a graph of them computes nothing uphill.
        """
        sharp = self.plus.sharpness
        begins = self.epochs * (1.0 - sharp.last)
        radius = {"radius": torch.tensor(sharp.radius)} if sharp.radius > 0 and moment >= begins else {}
        return {**super().changing(epoch, moment), "mixing": self.mixing(epoch), **radius}

    def mixing(self, epoch: int | Tensor) -> float | Tensor:
        """Returns 1 in the epochs that mix images, else 0; where a graph is recorded, what will hold it."""
        if isinstance(epoch, Tensor):
            return self.now["mixing"]
        return float(self.plus.mixup > 0 and epoch < self.plus.mixup_first * self.epochs)

    def draws(self, share: Share) -> dict[str, Any]:
        """Returns the weight of the second image of a mixture, and who is mixed with whom."""
        alpha = self.plus.mixup
        if alpha == 0:
            return {}
        weight = torch.distributions.Beta(alpha, alpha).sample()
        partner = share.of(torch.randperm(share.whole))
        return {"mix": weight, "partner": partner}

    def views(self, batch: Batch, epoch: int) -> Mapping[str, Tensor]:
        """Returns the two views of the batch and its "targets" [B, K], all mixed alike."""
        views, labels, classes = super().views(batch, epoch), batch.labels, self.context.train.num_classes
        if self.plus.mixup == 0:
            return {**views, "targets": F.one_hot(labels, classes).float()}
        drawn = self.drawn(labels)
        weight, partner = drawn["mix"] * self.mixing(epoch), drawn["partner"]
        mixed = {
            name: (1 - weight) * images + weight * self.gather(images)[partner]
            for name, images in views.items()
        }
        return {**mixed, "targets": mixed_labels(labels, self.gather(labels)[partner], weight, classes)}

    def targets(self, views: Mapping[str, Tensor], labels: Tensor) -> Tensor:
        """Returns the labels of the mixtures."""
        return views["targets"]

    def criterion(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the cross entropy of the balanced logits to the labels of the mixtures."""
        return soft_cross_entropy(logits + self.shift, targets)

    def consistency(self, student: Output, teacher: Output) -> dict[str, Tensor]:
        """Returns the three terms; that of the probabilities is of the balanced logits."""
        return super().consistency(
            *(one._replace(logits=one.logits + self.shift) for one in (student, teacher))
        )

    def differentiate(self, views: Mapping[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Leaves the gradient of the loss, as it is uphill where there is a radius."""
        if "radius" not in self.now:
            return super().differentiate(views, labels, epoch)
        self.backward(self._uphill(views), labels)
        with moved_uphill(self.movable, self.now["radius"].to(labels.device)):
            return super().differentiate(views, labels, epoch)

    def _uphill(self, views: Mapping[str, Tensor]) -> Tensor:
        """The cross entropy in which common classes count less, of the view that the loss sees first."""
        view = "strong" if self.stage.ce_view == "strong" else "weak"
        with same_statistics(self.network), self.context.runtime.autocast():
            logits = self.network(views[view]).logits
        each = (views["targets"] * (logits.float() + self.shift).log_softmax(1)).sum(1)
        return -(views["targets"] @ self.focus * each).mean()
