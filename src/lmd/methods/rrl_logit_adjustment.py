"""RRL + logit adjustment: LMD's first stage, then s_k - tau log pi_k, without any further training.

Pan et al., arXiv 2502.03238 (stage 1; see eq. 3 to eq. 5); Menon et al., "Long-tail learning via logit
adjustment", ICLR 2021 (stage 2). It shows what ICC adds to the cheapest correction there is. `--from` an LMD
run takes LMD's own encoder and classifier of stage 1 over.
"""

from __future__ import annotations

import numpy as np
from pydantic import model_validator

from lmd.model_card import Prior
from lmd.settings import CommonSettings, NonNegative, budgets
from lmd.stages.base import Stage
from lmd.stages.logit_adjustment import LogitAdjustment, prior_after, refuse_tau_alone
from lmd.stages.relation import AUTO_STAGE1, SHORT_STAGE1, SMOKE_STAGE1, RelationLearning, RelationSettings

PAPER = "RRL of arXiv 2502.03238 with Menon et al., ICLR 2021, arXiv 2007.07314"
STATUS = "beyond the paper"
PRIOR: Prior = "uniform"  # At adjustment = 1; `prior` has the others.
BUDGETS = budgets(
    smoke={"stage1": SMOKE_STAGE1}, short={"stage1": SHORT_STAGE1}, auto={"stage1": AUTO_STAGE1}
)


class Settings(CommonSettings):
    """RRL as in `lmd`, and how strong the adjustment is."""

    stage1: RelationSettings = RelationSettings()
    """stage 1: RRL, as in `lmd` (LMD paper, section 3.3)"""
    adjustment: NonNegative | None = 1.0
    """factor on log pi_k in the weights (paper of Menon et al.: tau = 1); null: best on validation (ours)"""

    _both_named = model_validator(mode="before")(refuse_tau_alone)


def prior(settings: Settings) -> Prior:
    """Returns what is left of the frequency of classes: nothing at adjustment = 1, all of it at 0."""
    return prior_after(settings.stage1.sampling, settings.adjustment)


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns RRL and the adjustment."""
    return [RelationLearning(settings, settings.stage1), LogitAdjustment(settings, settings.adjustment)]
