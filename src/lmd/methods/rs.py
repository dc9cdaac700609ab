"""Class-balanced resampling (RS): cross entropy on batches in which each class is as frequent as any other.

Kang et al., ICLR 2020; Zhang et al., "Bag of tricks for long-tailed visual recognition", AAAI 2021.

    p_k = n_k^q / sum_j n_j^q,   q = 0 balanced (default), 1/2 square_root, 1 instance

`stage1.sampling` chooses; `progressive` goes from instance to balanced, `class_aware` takes the classes in
turn without repeating an image before all of its class were seen.
"""

from __future__ import annotations

import numpy as np

from lmd.data.feed.sampling import Sampling, sampled_prior
from lmd.model_card import Prior
from lmd.settings import CommonSettings, budgets
from lmd.stages.base import Stage
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings

PAPER = "Zhang et al., AAAI 2021; Kang et al., ICLR 2020, arXiv 1910.09217"
STATUS = "baseline of the paper"
PRIOR: Prior = "unknown"  # Class-balanced images: see `sampled_prior`.
BUDGETS = budgets()


class ResamplingSettings(CrossEntropySettings):
    """Cross entropy, class-balanced."""

    sampling: Sampling = "balanced"
    """how often an epoch has an image: as often in each class (paper, q = 0), or by another rule"""


class Settings(CommonSettings):
    """One stage."""

    stage1: ResamplingSettings = ResamplingSettings()
    """the one stage: cross entropy on resampled images (paper)"""


def prior(settings: Settings) -> Prior:
    """Returns what the sampling of the images makes of the frequency of classes."""
    return sampled_prior(settings.stage1.sampling)


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns the one stage."""
    return [CrossEntropy(settings, settings.stage1)]
