"""Seesaw loss: images of common classes push rarer classes down less, unless they are mistaken for them.

Wang et al.: "Seesaw loss for long-tailed instance segmentation", CVPR 2021, in its form for classification:

    cross entropy of s_j + log S_ij for every class j other than the label i
    S_ij = min(1, N_j / N_i)^p  max(1, p_j / max(p_i, eps))^q

N counts the labels seen so far in training, those of the batch included; the paper's normalised classifier
is `stage1.classifier: cosine`.
"""

from __future__ import annotations

import logging
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lmd.losses.seesaw import seesaw_loss
from lmd.model_card import Prior
from lmd.processes.collectives import gather
from lmd.settings import CommonSettings, NonNegative, Positive, budgets
from lmd.stages.base import Stage, StageContext
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings

PAPER = "Wang et al., CVPR 2021, arXiv 2008.10032"
STATUS = "baseline of the paper"
PRIOR: Prior = "unknown"  # What the loss takes out depends on mistakes, not on frequency alone.
BUDGETS = budgets()

_log = logging.getLogger(__name__)


class SeesawSettings(CrossEntropySettings):
    """A stage of Seesaw loss."""

    p: NonNegative = 0.8
    """exponent of the ratio of counts, which spares rarer classes (paper)"""
    q: NonNegative = 2.0
    """exponent of the ratio of probabilities, which undoes that for mistakes (paper)"""
    epsilon: Positive = 1e-2
    """least probability of the label in that ratio (authors' code: mmpretrain)"""
    counts: Literal["online", "prior"] = "online"
    """labels that are counted: those seen so far (paper), or all of the training set (ours)"""
    classifier: Literal["linear", "cosine"] = "linear"
    """a linear classifier (authors' code: mmpretrain), or a normalised one (paper)"""
    scale: Positive = 20.0
    """factor on the cosines of the normalised classifier (paper)"""


class Settings(CommonSettings):
    """One stage."""

    stage1: SeesawSettings = SeesawSettings()
    """the one stage: Seesaw loss (paper)"""


class SeesawTraining(CrossEntropy):
    """Supervised training with Seesaw loss; the counts are part of its state."""

    capturable = True

    def __init__(self, common: CommonSettings, stage: SeesawSettings, counts: np.ndarray) -> None:
        """Starts with no labels seen, or with those of the training set."""
        super().__init__(common, stage)
        self.stage = stage
        self.online = stage.counts == "online"
        self.counts = torch.zeros(len(counts), dtype=torch.int64) if self.online else torch.from_numpy(counts)
        if stage.classifier == "cosine":
            self.wanted_classifier = ("cosine", stage.scale)

    def prepare(self, context: StageContext) -> None:
        """Moves the counts to the device, and says where they will not show what is rare."""
        super().prepare(context)
        self.counts = self.counts.to(context.runtime.device)
        if self.online and self.sampling != "instance":
            _log.warning(
                "seesaw counts the labels it sees: with sampling = %s they tell less of what is rare; "
                "set stage1.counts: prior",
                self.sampling,
            )

    def criterion(self, logits: Tensor, labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Counts the labels, of all processes, and returns the loss."""
        if self.online:
            seen = torch.nn.functional.one_hot(labels, len(self.counts)).sum(0)
            self.counts.add_(gather(seen).view(-1, len(self.counts)).sum(0))
        stage = self.stage
        return {"seesaw": seesaw_loss(logits, labels, self.counts, stage.p, stage.q, stage.epsilon)}

    def state_dict(self) -> dict[str, Any]:
        """Returns the counts beside the optimiser."""
        return {**super().state_dict(), "counts": self.counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        super().load_state_dict(state)
        self.counts = state["counts"].to(self.context.runtime.device)


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns the one stage."""
    return [SeesawTraining(settings, settings.stage1, counts)]
