"""Cross entropy (CE): the plain baseline, instance-balanced batches and -log p_y.

    L_CE = -(1/B) sum_i log softmax(f(g(x_i)))_{y_i}

The paper states no augmentation for it; `view` chooses, by default the weak view, which is also what
LMD's own cross entropy sees.
"""

from __future__ import annotations

import numpy as np

from lmd.data.feed.sampling import sampled_prior
from lmd.model_card import Prior
from lmd.settings import CommonSettings, budgets
from lmd.stages.base import Stage
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings

PAPER = "row CE of tables 1-3 of arXiv 2502.03238"
STATUS = "baseline of the paper"
PRIOR: Prior = "training"
BUDGETS = budgets()


class Settings(CommonSettings):
    """CE's settings; the defaults are the paper's protocol (section 4.2)."""

    stage1: CrossEntropySettings = CrossEntropySettings()
    """the one stage: cross entropy (LMD paper, section 4.2)"""


def prior(settings: Settings) -> Prior:
    """Returns what the sampling of the images makes of the frequency of classes."""
    return sampled_prior(settings.stage1.sampling)


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns the one stage."""
    return [CrossEntropy(settings, settings.stage1)]
