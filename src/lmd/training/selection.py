"""Which network of a stage is kept: what validation says of those that the stage offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lmd.data.feed.loader import ImageSet
from lmd.evaluation.metrics import balanced_accuracy, macro_auc
from lmd.models.inference import encode
from lmd.models.network import Network
from lmd.runtime import Runtime
from lmd.settings import Tree
from lmd.stages.base import Stage


@dataclass
class Best:
    """The best network so far of the last stage, with what it leaves beside the model."""

    score: float | None = None
    weights: dict[str, Tensor] | None = None
    artefacts: dict[str, Tensor] | None = None

    def keep(self, stage: Stage, score: float) -> None:
        """Keeps what the stage delivers now, where it is better; the first of equals wins."""
        if self.score is not None and score <= self.score:
            return
        self.score = score
        weights = stage.deliver().state_dict()
        self.weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
        self.artefacts = stage.artefacts()


def validate(network: Network, val: ImageSet | None, runtime: Runtime) -> Tree:
    """Returns balanced accuracy and macro AUC on the validation images; nothing where there are none."""
    if val is None:
        return {}
    probabilities = encode(network, val, runtime).logits.softmax(1).cpu().numpy()
    labels = val.labels.numpy()
    auc = macro_auc(labels, probabilities)
    return {"bacc": balanced_accuracy(labels, probabilities), "auc": auc if np.isfinite(auc) else None}


class Selection:
    """Judges the networks that one stage offers.

    A stage before the last hands over its last epoch: how well a classifier does that the next stage throws
    away says little about the encoder under it (docs/paper.md). `keep` is true for the last stage where
    validation chooses.
    """

    def __init__(self, stage: Stage, best: Best, keep: bool, judge: Callable[[Network], Tree]) -> None:
        """Starts without a judgement."""
        self.stage, self.best, self.keep, self.judge = stage, best, keep, judge
        self.validation: Tree = {}

    def offer(self) -> None:
        """Validates what the stage delivers now, and keeps it if it is the best."""
        self.validation = self.judge(self.stage.deliver())
        score = self.validation.get("bacc")
        if self.keep and score is not None:
            self.best.keep(self.stage, score)
