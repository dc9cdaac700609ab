"""Decoupling (cRT, LWS, tau-norm, NCM): train the encoder plainly, then only re-balance the classifier.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis: "Decoupling representation and classifier for long-tailed
recognition", ICLR 2020. Stage 1 is cross entropy with instance sampling; then, with the encoder frozen:

    crt        a new linear classifier, class-balanced sampling (the paper's row "Decoupling")
    lws        logits a_k (w_k . z + b_k), only the scales a_k are learned
    tau_norm   w_k / ||w_k||^p without bias, the power p (tau in the paper) chosen on validation
    ncm        the nearest class mean

Only `crt` and `lws` train; the others take one pass over the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from lmd.data.feed.sampling import sampled_prior
from lmd.losses.classification import cross_entropy
from lmd.model_card import Prior
from lmd.models.classifier import LinearClassifier, PrototypeClassifier
from lmd.models.inference import encode
from lmd.settings import CommonSettings, budgets
from lmd.stages.adjustment import Adjustment, best_on_validation, linear_classifier
from lmd.stages.base import Stage, StageContext, new_classifier
from lmd.stages.classifier_training import ClassifierSettings, ClassifierTraining
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings
from lmd.stages.optimisation import Losses

PAPER = "Kang et al., ICLR 2020, arXiv 1910.09217"
STATUS = "baseline of the paper"
PRIOR: Prior = "unknown"  # Stage 2 has class-balanced images: see `sampled_prior`.
BUDGETS = budgets()


class DecouplingSettings(ClassifierSettings):
    """Stage 2: which of the four classifiers."""

    OLD_NAMES: ClassVar[Mapping[str, str]] = {"tau": "norm_power"}

    variant: Literal["crt", "lws", "tau_norm", "ncm"] = "crt"
    """which of the four classifiers (ours: how we read the LMD paper's row)"""
    norm_power: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    """exponent of the norms, for tau_norm; null: the best of 0, 0.1 ... 2 on validation (authors' code)"""
    ncm_features: Literal["un", "l2n", "cl2n"] = "cl2n"
    """features for ncm: as they are, of length 1, or centred and of length 1 (authors' code)"""


class Settings(CommonSettings):
    """Two stages: cross entropy, then the classifier."""

    stage1: CrossEntropySettings = CrossEntropySettings()
    """stage 1: cross entropy (paper)"""
    stage2: DecouplingSettings = DecouplingSettings()
    """stage 2: the classifier on the frozen encoder (paper)"""


class ScaleLearning(ClassifierTraining):
    """LWS: the classifier is kept and frozen, one scale per class is learned."""

    capturable = True

    def __init__(self, common: CommonSettings, stage: DecouplingSettings) -> None:
        """Keeps the old classifier."""
        super().__init__(common, stage.model_copy(update={"classifier": "kept"}))

    def prepare(self, context: StageContext) -> None:
        """Remembers the classifier of stage 1; the scales start at 1."""
        classifier = linear_classifier(context)
        self.scales = nn.Linear(1, context.train.num_classes, bias=False).to(context.runtime.device)
        nn.init.ones_(self.scales.weight)
        self.kept = {name: value.detach().clone() for name, value in classifier.state_dict().items()}
        super().prepare(context)

    def trained(self) -> nn.Module:
        """Returns the scales."""
        return self.scales

    def loss(self, views: Mapping[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the cross entropy of a_k (w_k . z + b_k)."""
        logits = nn.functional.linear(views["features"], self.kept["weight"], self.kept["bias"])
        loss = cross_entropy(logits * self.scales.weight[:, 0], labels)
        return {"total": loss, "cross_entropy": loss}

    def after_step(self) -> None:
        """Folds the scales into the network's classifier, so that it stays an ordinary linear one."""
        classifier = cast("LinearClassifier", self.network.classifier)
        with torch.no_grad():
            classifier.weight.copy_(self.kept["weight"] * self.scales.weight)
            classifier.bias.copy_(self.kept["bias"] * self.scales.weight[:, 0])

    def state_dict(self) -> dict[str, Any]:
        """Returns the scales and the classifier they multiply, beside the optimiser."""
        return {**super().state_dict(), "kept": self.kept, "scales": self.scales.weight}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        super().load_state_dict(state)
        device = self.context.runtime.device
        self.kept = {name: value.to(device) for name, value in state["kept"].items()}
        with torch.no_grad():
            self.scales.weight.copy_(state["scales"])


class TauNormalisation(Adjustment):
    """tau-norm: w_k <- w_k / ||w_k||^p, the bias dropped."""

    def __init__(self, common: CommonSettings, stage: DecouplingSettings) -> None:
        """Keeps the power."""
        super().__init__(common)
        self.power = stage.norm_power

    def prepare(self, context: StageContext) -> None:
        """Takes the network over; its classifier has to be linear."""
        super().prepare(context)
        linear_classifier(context)

    def adjust(self) -> Losses:
        """Rescales the classifier; a power that is not given is chosen on validation, never on test."""
        classifier = linear_classifier(self.context)
        weight = classifier.weight.detach().clone()
        power = self.power
        if power is None:
            name = "stage2.norm_power"
            power = best_on_validation(self.context, name, lambda z, p: z @ over_norm(weight, p).T)
        classifier.weight.copy_(over_norm(weight, power))
        classifier.bias.zero_()
        return {"norm_power": power}


def over_norm(weight: Tensor, power: float) -> Tensor:
    """Returns w_k / ||w_k||^power for the rows of a classifier [K, C].

    >>> over_norm(torch.tensor([[3.0, 4.0]]), 1.0)
    tensor([[0.6000, 0.8000]])
    """
    return weight / weight.norm(dim=1, keepdim=True).clamp(min=1e-12) ** power


class NearestMean(Adjustment):
    """NCM: the prototype of a class is the mean of its training features."""

    def __init__(self, common: CommonSettings, stage: DecouplingSettings) -> None:
        """Keeps how features are treated."""
        super().__init__(common)
        self.treatment = stage.ncm_features

    def prepare(self, context: StageContext) -> None:
        """Gives the network a classifier of prototypes."""
        super().prepare(context)
        new_classifier(context, "prototype", None, seed=0)

    def adjust(self) -> Losses:
        """Sets centre and prototypes."""
        classifier = cast("PrototypeClassifier", self.network.classifier)
        train = self.context.train
        features = encode(self.network, train, self.context.runtime).features
        if self.treatment == "cl2n":
            classifier.centre.copy_(features.mean(0))
        classifier.unit.fill_(float(self.treatment != "un"))
        treated, labels = classifier.treat(features), train.labels.to(features.device)
        means = [treated[labels == k].mean(0) for k in range(train.num_classes)]
        classifier.prototypes.copy_(torch.stack(means))
        return {}


def prior(settings: Settings) -> Prior:
    """Returns what the sampling of stage 2 makes of it; tau-norm and NCM give no probabilities."""
    stage = settings.stage2
    return sampled_prior(stage.sampling) if stage.variant in ("crt", "lws") else "unknown"


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns cross entropy and the chosen second stage."""
    second: dict[str, Any] = {
        "crt": ClassifierTraining,
        "lws": ScaleLearning,
        "tau_norm": TauNormalisation,
        "ncm": NearestMean,
    }
    stage = settings.stage2
    return [CrossEntropy(settings, settings.stage1), second[stage.variant](settings, stage)]
