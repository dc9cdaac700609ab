"""Which network of a stage is kept: what validation says of those that the stage offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from lmd.data.feed.loader import ImageSet
from lmd.evaluation.metrics import balanced_accuracy, macro_auc
from lmd.evaluation.probability.decisions import choose_tau, margin_score, width_of
from lmd.models.inference import encode
from lmd.models.network import Network
from lmd.runtime import Runtime
from lmd.settings import Tree
from lmd.stages.base import Stage

# The number of a judgement by which each way of choosing chooses.
CHOSEN_BY = {"val_margin": "margin", "val_bacc": "bacc", "last": None}


@dataclass
class Best:
    """The best network so far of the last stage, with what it leaves beside the model."""

    score: float | None = None
    weights: dict[str, Tensor] | None = None
    artefacts: dict[str, Tensor] | None = None
    validation: Tree = field(default_factory=dict[str, Any])

    def keep(self, stage: Stage, score: float, validation: Tree) -> None:
        """Keeps what the stage delivers now, where it is better; the first of equals wins."""
        if self.score is not None and score <= self.score:
            return
        self.score, self.validation = score, validation
        weights = stage.deliver().state_dict()
        self.weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
        self.artefacts = stage.artefacts()


def validate(
    network: Network, val: ImageSet | None, runtime: Runtime, tau: float | str, log_prior: np.ndarray
) -> Tree:
    """Returns what validation says of a network; nothing where there are no images.

    AUC is of the ranking, balanced accuracy and its smoothed form (`margin`) of the decisions, which tau
    shifts. Where validation chooses tau, it does so here too, and the record has it.
    """
    if val is None:
        return {}
    found = encode(network, val, runtime).logits
    ranking, logits = found.softmax(1).cpu().numpy(), found.double().cpu().numpy()
    return judgement(logits, ranking, val.labels.numpy(), tau, log_prior)


def judgement(
    logits: np.ndarray, ranking: np.ndarray, labels: np.ndarray, tau: float | str, log_prior: np.ndarray
) -> Tree:
    """Returns what validation says of logits [N, K] and of the probabilities that rank [N, K]."""
    shift = choose_tau(logits, labels, log_prior) if isinstance(tau, str) else tau
    shifted = logits - shift * log_prior
    auc = macro_auc(labels, ranking)
    return {
        "bacc": balanced_accuracy(labels, shifted if shift else ranking),
        "auc": auc if np.isfinite(auc) else None,
        "margin": margin_score(shifted, labels, width_of(logits)),
        **({"tau": shift} if isinstance(tau, str) else {}),
    }


class Selection:
    """Judges the networks that one stage offers.

    A stage before the last hands over its last epoch: how well a classifier does that the next stage throws
    away says little about the encoder under it (docs/paper.md). `by` is the number of a judgement that
    chooses in the last stage; None where nothing is kept.
    """

    def __init__(self, stage: Stage, best: Best, by: str | None, judge: Callable[[Network], Tree]) -> None:
        """Starts without a judgement."""
        self.stage, self.best, self.by, self.judge = stage, best, by, judge
        self.validation: Tree = {}

    def offer(self) -> None:
        """Validates what the stage delivers now, and keeps it if it is the best."""
        self.validation = self.judge(self.stage.deliver())
        score = None if self.by is None else self.validation.get(self.by)
        if score is not None:
            self.best.keep(self.stage, score, self.validation)
