"""Cross entropy (CE): the plain baseline, instance-balanced batches and -log p_y.

    L_CE = -(1/B) sum_i log softmax(f(g(x_i)))_{y_i}

Paper row "CE" of tables 1-3 in arXiv 2502.03238. The paper states no augmentation for it; `view`
chooses, by default the weak view, which is also what LMD's own cross entropy sees.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from torch import Tensor

from lmd.losses.classification import cross_entropy
from lmd.methods.base import Stage, Supervised, SupervisedSettings
from lmd.settings import CommonSettings


class CrossEntropySettings(SupervisedSettings):
    """The one stage of CE; `view` is what the network sees."""

    view: Literal["weak", "strong", "clean"] = "weak"


class Settings(CommonSettings):
    """CE's settings; the defaults are the paper's protocol (section 4.2)."""

    stage1: CrossEntropySettings = CrossEntropySettings()


BUDGETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "size": 32,
        "precision": "auto",
        "stage1": {"epochs": 2, "optimisation": {"schedule": "cosine"}},
    },
    "short": {
        "size": 64,
        "precision": "auto",
        "stage1": {"epochs": 12, "optimisation": {"schedule": "cosine"}},
    },
}


class CrossEntropy(Supervised):
    """Supervised training with the cross entropy of one view."""

    def __init__(self, settings: Settings) -> None:
        """Chooses the view."""
        super().__init__(settings, settings.stage1)
        self.view_names = (settings.stage1.view,)

    def loss(self, views: dict[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the cross entropy of the only view."""
        (images,) = views.values()
        with self.context.runtime.autocast():
            output = self.network(images)
        loss = cross_entropy(output.logits.float(), labels)
        return {"total": loss, "cross_entropy": loss}


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns the one stage."""
    return [CrossEntropy(settings)]
