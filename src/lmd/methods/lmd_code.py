"""LMD as the authors' repository behaves (peterlipan/LMD, 0d632d3), its slips included.

A preset of `lmd`. Settings: cross entropy on the strong view, BatchNorm re-estimated by the E-step, the last
epoch is kept. What only imitates the repository is written out here: consistency from the 22nd epoch, the
channel term divided by the batch, gradients of the relation terms divided by the number of processes,
virtual features from statistics that are not smoothed, a label term without a gradient, the sign of FDC
reversed, no closing M-step. The rows of the table in docs/paper.md have the details.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lmd.amounts import Share
from lmd.losses.classification import generalised_cross_entropy
from lmd.losses.distance import ClassMetric
from lmd.losses.distribution import attraction, repulsion
from lmd.methods import lmd
from lmd.methods.lmd import BUDGETS as LMD_BUDGETS
from lmd.methods.lmd import PAPER, PRIOR
from lmd.models.network import Output
from lmd.settings import CommonSettings, NonNegative, merge
from lmd.stages.base import Stage
from lmd.stages.calibration.algorithm import Calibration
from lmd.stages.calibration.e_step import EStep
from lmd.stages.optimisation import Losses
from lmd.stages.relation import RelationLearning, RelationSettings

__all__ = ["BUDGETS", "PAPER", "PRESET", "PRIOR", "STATUS", "Settings", "stages"]

STATUS = "preset of lmd"

BUDGETS = {
    **{name: merge(tree, {"tau": 0.0}) for name, tree in LMD_BUDGETS.items()},
    "auto": merge(LMD_BUDGETS["auto"], {"tau": 0.0, "stage1": {"consistency_start": Share(0.21)}}),
}

PRESET: dict[str, Any] = {
    "bn_recalibrate": False,
    "select": "last",
    "stage1": {"ce_view": "strong"},
    "e_step": {"batch_norm": "train"},
}


class CodeRelationSettings(RelationSettings):
    """RRL's settings, and when the consistency starts."""

    consistency_start: NonNegative = 21.0
    """epochs before the three consistency terms count (authors' code: from the 22nd epoch)"""


class Settings(lmd.Settings):
    """LMD's settings, and when the consistency starts."""

    stage1: CodeRelationSettings = CodeRelationSettings()
    """stage 1: RRL (paper, section 3.3)"""


class CodeRelationLearning(RelationLearning):
    """RRL with a late start, a channel term divided by the batch, and 1/W of the gradient on W processes."""

    capturable = True

    def __init__(self, common: CommonSettings, stage: CodeRelationSettings) -> None:
        """Keeps the settings."""
        super().__init__(common, stage)
        self.start = stage.consistency_start

    def ramp(self, epoch: float) -> float:
        """Returns 0 before the consistency starts, and then what `ramp_epochs` says (row 8)."""
        return 0.0 if epoch < self.start else super().ramp(epoch - self.start)

    def consistency(self, student: Output, teacher: Output) -> dict[str, Tensor]:
        """Divides the channel term by the batch of all processes in place of C (row 3)."""
        terms = super().consistency(student, teacher)
        images, channels = student.features.shape
        return {**terms, "channel_consistency": terms["channel_consistency"] * (channels / images)}

    def of_all(self, output: Output) -> Output:
        """Lets each process keep its own share of the gradient alone (row 4)."""
        whole = super().of_all(output)
        share = len(output.features) / len(whole.features)
        return Output(*(part if share == 1 else _scale_gradient(part, share) for part in whole))


def _scale_gradient(tensor: Tensor, factor: float) -> Tensor:
    return tensor.detach() + factor * (tensor - tensor.detach())


class CodeEStep(EStep):
    """The E-step with generalised cross entropy that has no gradient, and with Phi - Psi."""

    def loss(self, output: Output, labels: Tensor, metric: ClassMetric | None) -> dict[str, Tensor]:
        """Returns the objective of a batch and its terms (rows 14 and 15)."""
        with torch.no_grad():
            label_term = generalised_cross_entropy(output.logits, labels)
        if metric is None:
            return {"expect": label_term, "expect_label": label_term}
        distances = metric.distances(output.features)
        consistency = repulsion(distances, labels) - attraction(distances, labels)
        total = label_term + self.settings.distribution_weight * consistency
        return {"expect": total, "expect_label": label_term, "distribution_consistency": consistency}

    def descend(self, loss: Tensor) -> None:
        """Takes a step where there is a gradient; w/o FDC there is none."""
        if loss.requires_grad:
            super().descend(loss)


class CodeCalibration(Calibration):
    """ICC that draws from the present statistics (row 18) and ends with an E-step (row 19)."""

    closing_m_step = False

    def run_iteration(self, j: int) -> Losses:
        """Runs one pass of the loop; FDC alone sees the smoothed statistics, the pair after it is offered."""
        smoothed = self.statistics.update(j)
        losses = self.m_step.fit(self.statistics.regularised(self.statistics.current), j)
        losses |= self.e_step.fit(smoothed, j)
        self.context.offer()
        return losses


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns the stages of `lmd` with the repository's own behaviour."""
    return lmd.stages(settings, counts, lmd.Parts(CodeRelationLearning, CodeCalibration, CodeEStep))
