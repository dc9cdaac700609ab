"""LDAM-RS: wider margins around rarer classes, and class-balanced resampling.

Cao, Wei, Gaidon, Arechiga, Ma: "Learning imbalanced datasets with label-distribution-aware margin loss",
NeurIPS 2019. With a normalised classifier, s_k = cos(z, w_k):

    m_k = m_max (n_k / n_min)^(-1/4)
    L = cross entropy of S (s_k - m_k [k = y])

`rebalance` says when the classes are balanced: `rs` from the first epoch (the paper's row), `drs` by
sampling and `drw` by weights only in the last fifth of training.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lmd.data.feed.sampling import Sampling, effective_weights
from lmd.losses.margin import ldam_loss, ldam_margins
from lmd.model_card import Prior
from lmd.processes.collectives import gather
from lmd.settings import CommonSettings, Fraction, NonNegative, Positive, budgets
from lmd.stages.base import Stage
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings

PAPER = "Cao et al., NeurIPS 2019, arXiv 1906.07413"
STATUS = "baseline of the paper"
PRIOR: Prior = "unknown"  # Margins by rarity, and class-balanced images besides.
BUDGETS = budgets()


class LdamSettings(CrossEntropySettings):
    """A stage of LDAM."""

    sampling: Sampling = "balanced"
    """rule of rs and drs (ours: balanced, as the LMD paper's RS; authors' code: effective_number)"""
    rebalance: Literal["rs", "drs", "drw"] = "rs"
    """balance from the start (LMD paper), from the switch on (drs), or by weights from the switch on (drw)"""
    switch: Fraction = 0.8
    """where drs and drw begin, as a part of the epochs (authors' code: epoch 160 of 200)"""
    max_margin: NonNegative = 0.5
    """m_max, margin of the rarest class, a difference of cosines (authors' code)"""
    scale: Positive = 30.0
    """S, factor on the cosines (authors' code)"""


class Settings(CommonSettings):
    """One stage."""

    stage1: LdamSettings = LdamSettings()
    """the one stage: a normalised classifier with margins (paper)"""


class LdamTraining(CrossEntropy):
    """Supervised training of a normalised classifier with margins."""

    capturable = True

    def __init__(self, common: CommonSettings, stage: LdamSettings, counts: np.ndarray) -> None:
        """Derives margins and weights from the counts."""
        super().__init__(common, stage)
        self.stage = stage
        self.wanted_classifier = ("cosine", stage.scale)
        self.margins = ldam_margins(torch.from_numpy(counts), stage.max_margin)
        self.weights = torch.from_numpy(effective_weights(counts))

    def rebalances(self, epoch: float) -> bool:
        """Returns whether the classes are balanced at a moment of training."""
        return self.stage.rebalance == "rs" or epoch >= self.stage.switch * self.epochs

    def order(self, epoch: int) -> np.ndarray:
        """Returns the rows of an epoch, balanced where `rebalance` says so."""
        balanced = self.stage.rebalance != "drw" and self.rebalances(epoch)
        self.sampling = self.stage.sampling if balanced else "instance"
        return super().order(epoch)

    def criterion(self, logits: Tensor, labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the cross entropy with margins; drw adds the weights of the labels."""
        cosines, scale = logits / self.stage.scale, self.stage.scale
        # By whole epochs, as the order changes: an epoch is of one kind.
        if self.stage.rebalance != "drw" or not self.rebalances(int(epoch)):
            return {"ldam": ldam_loss(cosines, labels, self.margins, scale)}
        # The weighted mean is over the images of all processes, which average their means by images.
        mine = torch.stack([self.weights[labels.cpu()].sum(), torch.tensor(len(labels))]).to(logits)[None]
        share = mine / gather(mine).sum(0)
        factor = share[0, 0] / share[0, 1]
        return {"ldam": factor * ldam_loss(cosines, labels, self.margins, scale, self.weights)}


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns the one stage."""
    return [LdamTraining(settings, settings.stage1, counts)]
