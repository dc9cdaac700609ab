"""Stage 2 of LMD, Iterative Classifier Calibration: Algorithm 1 of arXiv 2502.03238, lines 9 to 19."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lmd.errors import SettingsError
from lmd.models.network import Network
from lmd.runtime import derive_seed
from lmd.settings import CommonSettings
from lmd.stages.base import StageContext, new_classifier
from lmd.stages.calibration.e_step import EStep
from lmd.stages.calibration.m_step import MStep
from lmd.stages.calibration.statistics import Statistics
from lmd.stages.optimisation import Losses, seed_epoch


class Calibration:
    """J iterations of M-step and E-step; the training loop calls `run_epoch(j)` for j = 0, 1 ... J - 1.

    # Paper: ends with an E-step. Here: with one more M-step, because the saved f must fit the saved g.
    """

    name = "stage2"
    closing_m_step = True
    parts = ("statistics", "m_step", "e_step")

    def __init__(self, common: CommonSettings, statistics: Statistics, m_step: MStep, e_step: EStep) -> None:
        """Puts the parts together; a SettingsError where nothing would train the classifier."""
        self.common = common
        self.statistics, self.m_step, self.e_step = statistics, m_step, e_step
        self.iterations = e_step.iterations
        self.epochs = self.iterations + int(self.closing_m_step)
        if self.epochs == 0:
            raise SettingsError("with iterations = 0 and no closing M-step no classifier would be trained")

    def prepare(self, context: StageContext) -> None:
        """Takes g over from stage 1 and draws a new f (line 9)."""
        self.context, self.network = context, context.network
        self.statistics.prepare(context, self.epochs, self.e_step.settings.distance)
        new_classifier(context, "linear", None, derive_seed(self.common.seed, self.name, "head", 0))
        self.m_step.prepare(context, self.epochs)
        self.e_step.prepare(context)

    def run_epoch(self, epoch: int) -> Losses:
        """Runs iteration j = `epoch` (lines 10, 17 and 18)."""
        seed_epoch(self.common.seed, self.name, epoch)
        return self.run_iteration(epoch)

    def run_iteration(self, j: int) -> Losses:
        """Runs one pass of the loop; in the closing one there is no E-step."""
        gaussians = self.statistics.update(j)  # line 12: eq. 6-7
        losses = self.m_step.fit(gaussians, j)  # lines 11, 13, 14: eq. 8
        self.context.offer()  # Validation may keep this pair: f fits g here.
        if j < self.iterations:
            losses |= self.e_step.fit(gaussians, j)  # lines 15, 16: eq. 9-12
        return losses

    def deliver(self) -> Network:
        """Returns f . g as it is now, which predicts (line 19)."""
        return self.network

    def artefacts(self) -> dict[str, Tensor]:
        """Returns the smoothed class Gaussians, in fp32."""
        return self.statistics.artefacts()

    def state_dict(self) -> dict[str, Any]:
        """Returns the states of the three parts."""
        return {name: getattr(self, name).state_dict() for name in self.parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        for name in self.parts:
            getattr(self, name).load_state_dict(state[name])
