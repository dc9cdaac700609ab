"""RRL + cRT, the paper's ablation LMD w/o ICC: LMD's first stage, then a new class-balanced classifier.

Pan et al., arXiv 2502.03238 (stage 1; see eq. 3 to eq. 5); Kang et al., ICLR 2020 (stage 2). Without ICC, RRL
and the class-balanced training of a new classifier on real features are left. It shows how much of LMD comes
from its encoder. `--from` an LMD run takes LMD's own encoder over.
"""

from __future__ import annotations

import numpy as np

from lmd.data.feed.sampling import sampled_prior
from lmd.model_card import Prior
from lmd.settings import CommonSettings, budgets
from lmd.stages.base import Stage
from lmd.stages.classifier_training import ClassifierSettings, ClassifierTraining
from lmd.stages.relation import AUTO_STAGE1, SHORT_STAGE1, SMOKE_STAGE1, RelationLearning, RelationSettings

PAPER = "RRL of arXiv 2502.03238 (its ablation w/o ICC) with cRT of Kang et al., ICLR 2020"
STATUS = "ablation of the paper"
PRIOR: Prior = "unknown"  # Stage 2 has class-balanced images: see `sampled_prior`.
BUDGETS = budgets(
    smoke={"stage1": SMOKE_STAGE1}, short={"stage1": SHORT_STAGE1}, auto={"stage1": AUTO_STAGE1}
)


class Settings(CommonSettings):
    """Two stages: RRL as in `lmd`, then the classifier as in `decoupling`."""

    stage1: RelationSettings = RelationSettings()
    """stage 1: RRL, as in `lmd` (LMD paper, section 3.3)"""
    stage2: ClassifierSettings = ClassifierSettings()
    """stage 2: a new classifier on class-balanced features, as in `decoupling` (paper of Kang et al.)"""


def prior(settings: Settings) -> Prior:
    """Returns what the sampling of the images makes of the frequency of classes."""
    return sampled_prior(settings.stage2.sampling)


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns RRL and the training of the classifier."""
    return [RelationLearning(settings, settings.stage1), ClassifierTraining(settings, settings.stage2)]
