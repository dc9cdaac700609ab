"""LMD: relation-aware representation learning, then iterative classifier calibration.

Pan, Zhang, Yang, Li, Chen: "Long-tailed medical diagnosis with relation-aware representation learning
and iterative classifier calibration", arXiv 2502.03238 (2025); conference version MICCAI 2023.

    stage 1 (RRL)   L_CE + lambda_1 (L_sample + L_channel + 0.5 L_prob)          eq. 3-5
    stage 2 (ICC)   M: CE of f on R virtual features v ~ N(mu_k, Sigma_k)        eq. 6-8
                    E: lambda_e (Psi - Phi) + CE through the frozen f            eq. 10-12

The defaults are the paper's; every departure is a row of the table in docs/paper.md. The switches
`rrl`, `icc`, `vfc` and `fdc` are the paper's four ablations.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lmd.settings import CommonSettings
from lmd.stages.base import Stage, budgets
from lmd.stages.calibration.algorithm import Calibration, CalibrationSettings
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings
from lmd.stages.relation import SHORT_STAGE1, SMOKE_STAGE1, RelationLearning, RelationSettings


class Settings(CommonSettings):
    """LMD's settings: two stages and the four ablations."""

    rrl: bool = True
    icc: bool = True
    vfc: bool = True
    fdc: bool = True
    stage1: RelationSettings = RelationSettings()
    stage2: CalibrationSettings = CalibrationSettings()


PAPER = "Pan et al., arXiv 2502.03238 (2025); conference version MICCAI 2023"
STATUS = "the method"
BUDGETS = budgets(
    smoke={
        "stage1": SMOKE_STAGE1,
        "stage2": {"iterations": 1, "virtual_per_class": 2000, "head_optimisation": {"lr": 0.01}},
    },
    short={
        "stage1": SHORT_STAGE1,
        "stage2": {
            "iterations": 2,
            "virtual_per_class": 10_000,
            "head_optimisation": {"lr": 0.03, "weight_decay": 1e-2},
        },
    },
)


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns RRL and ICC, with what an ablation takes out of them."""
    first = RelationLearning(settings, settings.stage1) if settings.rrl else _without_relations(settings)
    return [first, Calibration(settings, _stage2(settings), num_classes=len(counts))]


def _without_relations(settings: Settings) -> CrossEntropy:
    """Stage 1 of the ablation w/o RRL: that of CE, so that no strong view reaches its BatchNorm either."""
    stage = settings.stage1
    shared = {name: getattr(stage, name) for name in ("epochs", "optimisation", "sampling")}
    view = "strong" if stage.ce_view == "strong" else "weak"
    return CrossEntropy(settings, CrossEntropySettings(**shared, view=view))


def _stage2(settings: Settings) -> CalibrationSettings:
    """Without ICC, the classifier alone is trained again on class-balanced real features (cRT)."""
    update: dict[str, Any] = {}
    if not settings.icc:
        update = {"iterations": 0, "final_m_step": True, "virtual": False}
    if not settings.vfc:
        update["virtual"] = False
    if not settings.fdc:
        update["distribution_weight"] = 0.0
    return settings.stage2.model_copy(update=update)
