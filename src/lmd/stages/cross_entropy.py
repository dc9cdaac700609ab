"""Stage 1 of the methods that begin with plain cross entropy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from lmd.losses.classification import cross_entropy
from lmd.settings import CommonSettings
from lmd.stages.base import Supervised, SupervisedSettings


class CrossEntropySettings(SupervisedSettings):
    """A stage of cross entropy; `view` is what the network sees."""

    view: Literal["weak", "strong", "clean"] = "weak"
    """what the network sees: flips (ours: the LMD paper does not say), LMD's strong view, or no change"""


class CrossEntropy(Supervised):
    """Supervised training with a loss of one view's logits: the cross entropy, or what `criterion` says."""

    capturable = True

    def __init__(self, common: CommonSettings, stage: CrossEntropySettings) -> None:
        """Chooses the view."""
        super().__init__(common, stage)
        self.view_names = (stage.view,)

    def loss(self, views: Mapping[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the criterion on the only view, under its own name and as the total."""
        (images,) = views.values()
        with self.context.runtime.autocast():
            output = self.network(images)
        terms = self.criterion(output.logits.float(), labels, epoch)
        return {"total": next(iter(terms.values())), **terms}

    def criterion(self, logits: Tensor, labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the named terms of the logits; the first is minimised."""
        return {"cross_entropy": cross_entropy(logits, labels)}
