"""LMD as printed: raw Gram matrices, KL(student, teacher), Sigma itself in Psi and Phi.

A preset of `lmd` that takes arXiv 2502.03238 at its letter. As printed it does not train: the raw Gram
terms are of the order of 10,000, and at lambda_1 = 10 the loss is NaN within the first epoch. With
`stage1.consistency_weight=1e-5` it trains; the budgets smoke and short have that. docs/methods/lmd_literal.md
has the measurements.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lmd.methods import lmd
from lmd.methods.lmd import BUDGETS as LMD_BUDGETS
from lmd.methods.lmd import PAPER, PRIOR, Settings
from lmd.settings import merge
from lmd.stages.base import Stage
from lmd.stages.calibration.algorithm import Calibration
from lmd.stages.optimisation import Losses

__all__ = ["BUDGETS", "PAPER", "PRESET", "PRIOR", "STATUS", "Settings", "stages"]

STATUS = "preset of lmd"

# lambda_1 is 10 in the paper, which the budget "paper" keeps: there the loss becomes NaN.
BUDGETS = {
    name: merge(tree, {"tau": 0.0, "stage1": {"consistency_weight": 1e-5}})
    for name, tree in LMD_BUDGETS.items()
}

PRESET: dict[str, Any] = {
    "bn_recalibrate": False,
    "select": "last",
    "stage1": {"gram_norm": "none", "kl": "student_teacher", "ce_view": "weak"},
    # Paper: no regulariser. Here: the smallest that lets a class with N_k < C be factorised.
    "statistics": {"ridge": 1e-6},
    "e_step": {"distance": "covariance_literal"},
}


class LiteralCalibration(Calibration):
    """Algorithm 1 as printed, which ends with an E-step."""

    closing_m_step = False

    def run_iteration(self, j: int) -> Losses:
        """Runs one pass of the loop; what it ends with, f^j . g^j, is offered."""
        gaussians = self.statistics.update(j)
        losses = self.m_step.fit(gaussians, j) | self.e_step.fit(gaussians, j)
        self.context.offer()
        return losses


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns the stages of `lmd`, without a closing M-step."""
    return lmd.stages(settings, counts, lmd.Parts(calibration=LiteralCalibration))
