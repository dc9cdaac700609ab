"""LMD+: relation-aware representation learning on balanced logits, then an exact classifier calibration.

It is made of LMD's stages (Pan et al., arXiv 2502.03238). Each ingredient is a setting, and can be left out:

    stage 1   RRL whose losses see s_k + b log pi_k: rare classes shape the features     stage1.balance
              sharpness-aware steps at the end, uphill by the rare classes               stage1.sharpness
              mixup, if asked for: the same in both views, off at the end of the stage   stage1.mixup
              the EMA teacher is handed over,                                            stage1.stage2_from
              with BatchNorm re-estimated on clean images                                bn_recalibrate
    stage 2   ICC's M-step, solved exactly; no E-step                                    m_step, iterations
    answers   features averaged over mirror images, in the class statistics too          flips
              decisions shifted by -tau log pi, tau chosen on validation images          tau

docs/results.md says what each of them adds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from lmd.amounts import Share
from lmd.model_card import Prior
from lmd.models.network import Flips
from lmd.settings import CommonSettings, Tau, Tree, budgets
from lmd.stages.balanced_relation import BalancedRelation, BalancedRelationSettings
from lmd.stages.base import Stage
from lmd.stages.calibration.algorithm import Calibration
from lmd.stages.calibration.e_step import EStep, EStepSettings, IdleEStep
from lmd.stages.calibration.m_step import MStepSettings, build_m_step
from lmd.stages.calibration.statistics import Statistics, StatisticsSettings

PAPER = "beyond arXiv 2502.03238; with Ren et al. (2020), Foret et al. (2021), Zhang et al. (2018)"
STATUS = "beyond the paper"
PRIOR: Prior = "unknown"  # As in `lmd`.


class Settings(CommonSettings):
    """LMD's groups, with the ingredients of LMD+ switched on."""

    stage1: BalancedRelationSettings = BalancedRelationSettings()
    """stage 1: RRL on balanced logits (LMD paper, section 3.3; the rest is ours)"""
    iterations: Annotated[int, Field(ge=0)] = 0
    """J, iterations of M-step and E-step; 0: one M-step alone (ours)"""
    statistics: StatisticsSettings = StatisticsSettings(sampling="uniform")
    """stage 2, ICC: the class Gaussians (LMD paper, section 3.4.2; each image once: ours)"""
    m_step: MStepSettings = MStepSettings(solver="exact")
    """stage 2, ICC: the classifier (LMD paper, section 3.4.1; solved exactly: ours)"""
    e_step: EStepSettings = EStepSettings()
    """stage 2, ICC: the encoder, where `iterations` is not 0 (LMD paper, section 3.4.3)"""
    bn_recalibrate: bool = True
    """re-estimate BatchNorm on clean training images after stage 1 (ours)"""
    flips: Flips = "both"
    """mirror images over which features are averaged at rest: in answers and in stage 2 (ours)"""
    tau: Tau = "validation"
    """shift of decisions to rare classes, s - tau log pi (ours: chosen on validation)"""

    def idle(self) -> Mapping[str, Sequence[str]]:
        """Returns settings of ingredients that are left out, and of the other solver of the M-step."""
        found = dict(self.m_step.idle())
        if self.stage1.mixup == 0:
            found["stage1.mixup=0"] = ("stage1.mixup_first",)
        if self.stage1.sharpness.radius == 0:
            found["stage1.sharpness.radius=0"] = ("stage1.sharpness.last", "stage1.sharpness.focus")
        if self.iterations == 0:
            found["iterations=0"] = ("e_step",)
        elif self.freeze == "all":
            found["freeze=all"] = ("e_step",)
        return found


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns balanced RRL and ICC."""
    statistics = Statistics(settings, settings.statistics, keep_features=False)
    m_step = build_m_step(settings, settings.m_step, statistics, real_features=False)
    kind = IdleEStep if settings.freeze == "all" else EStep
    e_step = kind(settings, settings.e_step, settings.iterations)
    return [
        BalancedRelation(settings, settings.stage1, counts),
        Calibration(settings, statistics, m_step, e_step),
    ]


_STAGE1: Tree = {
    "consistency_weight": 3.0,
    "teacher_decay": 0.99,
    "stage2_from": "teacher",
    "ce_view": "both",
}
BUDGETS = budgets(
    smoke={"stage1": {**_STAGE1, "consistency_weight": 1.0, "teacher_decay": 0.9}},
    short={"stage1": {**_STAGE1, "ramp_epochs": 3}},
    auto={"stage1": {**_STAGE1, "ramp_epochs": Share(0.25)}},
)
