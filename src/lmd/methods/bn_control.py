"""BatchNorm control: cross entropy, then nothing but BatchNorm's statistics estimated again on clean images.

A control for every second stage: the E-step of LMD's authors runs with BatchNorm in training mode and so
re-estimates its statistics (docs/paper.md, row 13). What this gains over CE is not an effect of a classifier.
No weight changes. `--from` a run of another method measures the same on that method's encoder.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import model_validator
from torch import Tensor

from lmd.data.feed.sampling import instance_order, sampled_prior
from lmd.model_card import Prior
from lmd.models.inference import recalibrate
from lmd.runtime import derive_seed
from lmd.settings import CommonSettings, budgets
from lmd.stages.adjustment import Adjustment
from lmd.stages.base import Stage
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings
from lmd.stages.optimisation import Losses

PAPER = "ours: a control for the E-step of the authors' code"
STATUS = "control"
PRIOR: Prior = "training"
BUDGETS = budgets()


class Settings(CommonSettings):
    """Cross entropy; the second stage has nothing to set."""

    stage1: CrossEntropySettings = CrossEntropySettings()
    """stage 1: cross entropy (LMD paper, section 4.2)"""

    @model_validator(mode="after")
    def _refuse_frozen_statistics(self) -> Settings:
        if self.freeze == "all":
            raise ValueError(
                "freeze=all keeps the statistics that bn-control re-estimates: take stem or none"
            )
        return self


class BatchNormEstimation(Adjustment):
    """One pass over the clean training images that re-estimates BatchNorm's running mean and variance."""

    def adjust(self) -> Losses:
        """Re-estimates the statistics in batches of the training's size; returns how far the means moved."""
        train = self.context.train
        before = self._means()
        order = instance_order(len(train.labels), derive_seed(self.common.seed, self.name), 0)
        recalibrate(self.network, train, self.context.runtime, order, self.common.batch)
        return {"shift": float((self._means() - before).abs().mean())} if len(before) else {}

    def _means(self) -> Tensor:
        """All running means, one behind the other."""
        buffers = self.network.encoder.named_buffers()
        means = [buffer.flatten() for name, buffer in buffers if name.endswith("running_mean")]
        return torch.cat(means) if means else torch.empty(0)


def prior(settings: Settings) -> Prior:
    """Returns what the sampling of the images makes of the frequency of classes."""
    return sampled_prior(settings.stage1.sampling)


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns cross entropy and the pass over the images."""
    return [CrossEntropy(settings, settings.stage1), BatchNormEstimation(settings)]
