"""CC-SAM: a sharpness-aware step of its own for each class, then noise on the features of rare classes.

Zhou, Li, Zhao, Heng, Gong: "Class-conditional sharpness-aware minimization for deep long-tailed
recognition", CVPR 2023. Stage 1 trains everything, with mixup; g_c is the gradient of class c's mean cross
entropy with respect to the classifier w. ||w|| is one norm over weight and bias together; the two are then
moved apart, each with the gradient of its own for g_c:

    L = (1 - a) CE(w) + a (1/B) sum_i CE_i(w + rho_{y_i} g_{y_i} / ||g_{y_i}||)
    rho_c = r sqrt(||w|| / ||g_c||) k^(1/4) / (sqrt(2) (n_c - 1)^(1/4)),    k parameters in w

Stage 2 trains the classifier alone on class-aware batches of frozen features z:

    L = (1 - b) CE(z) + b (1/B) sum_i v_{y_i} CE_i(z_i + noise_i),    v_c = log(n_max / n_c + 0.01) / 2

with noise_i along the gradient, v_c long for a class, and b growing linearly over the stage. r = 0 is CE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lmd.data.feed.sampling import Sampling
from lmd.losses.class_balanced import weighted_cross_entropy
from lmd.losses.classification import cross_entropy
from lmd.losses.mixup import mixed_labels, soft_cross_entropy
from lmd.losses.perturbation import (
    ClassShift,
    class_gradients,
    class_shifts,
    feature_noise,
    shifted_logits,
)
from lmd.model_card import Prior
from lmd.models.network import Output
from lmd.processes.shares import Share
from lmd.settings import CommonSettings, Count, Fraction, NonNegative, Optimisation, Positive, budgets
from lmd.stages.adjustment import linear_classifier
from lmd.stages.base import Stage
from lmd.stages.classifier_training import ClassifierSettings, ClassifierTraining
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings

PAPER = "Zhou, Li, Zhao, Heng and Gong, CVPR 2023"
STATUS = "baseline of the paper"
PRIOR: Prior = "unknown"  # Stage 2 balances the classes and weighs rare ones more besides.
BUDGETS = budgets()


class SharpnessSettings(CrossEntropySettings):
    """Stage 1: the shifted classifiers and mixup."""

    radius: NonNegative = 1e-6
    """r, factor on the length of a class's step (authors' code); 0: no step"""
    flat_ratio: Fraction = 0.3
    """a, share of the loss under the shifted classifier (authors' code: CIFAR-10)"""
    mixup: NonNegative = 1.0
    """alpha of mixup's Beta(alpha, alpha) (authors' code); 0: no mixup"""
    shifted_target: Literal["mixed", "first"] = "mixed"
    """labels under the shifted classifier: the mixed ones (ours), or the first alone (authors' code)"""


class NoiseSettings(ClassifierSettings):
    """Stage 2: noise on the features, growing in weight."""

    epochs: Count = 30
    """passes over the cached features (authors' code)"""
    optimisation: Optimisation = Optimisation(lr=0.01, weight_decay=2e-4)
    """gradient descent of the classifier (authors' code)"""
    sampling: Sampling = "class_aware"
    """how often an epoch has an image's features: the classes in turn (authors' code), or by another rule"""
    classifier: Literal["new", "kept"] = "kept"
    """go on with the classifier of stage 1 (authors' code), or train a new one"""
    noise_limit: Fraction = 1.0
    """b at its largest, share of the loss on noisy features (authors' code: CIFAR-10)"""
    divisor: Positive = 2.0
    """divisor of v_c, the length of a class's noise and its weight (authors' code)"""


class Settings(CommonSettings):
    """Two stages: class-wise sharpness, then the classifier."""

    stage1: SharpnessSettings = SharpnessSettings()
    """stage 1: the whole network, with class-wise steps (paper)"""
    stage2: NoiseSettings = NoiseSettings()
    """stage 2: the classifier, with noise on its features (paper)"""


class ClassSharpness(CrossEntropy):
    """Cross entropy, together with that under the classifier shifted against each image's class."""

    capturable = True

    def __init__(self, common: CommonSettings, stage: SharpnessSettings, counts: np.ndarray) -> None:
        """Keeps the settings and the number of images of each class."""
        super().__init__(common, stage)
        self.stage = stage
        self.counts = torch.from_numpy(counts).float()

    def loss(self, views: Mapping[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the plain and the shifted cross entropy, and their weighted sum."""
        (images,) = views.values()
        images, targets = self._mix(images, labels)
        with self.context.runtime.autocast():
            raw = self.network(images)
        output = Output(raw.features.float(), raw.logits.float())
        shifted = shifted_logits(*output, labels, self._shifts(output, targets, labels))
        judged = targets if self.stage.shifted_target == "mixed" else self._one_hot(labels)
        terms = {
            "cross_entropy": soft_cross_entropy(output.logits, targets),
            "shifted": soft_cross_entropy(shifted, judged),
        }
        ratio = self.stage.flat_ratio
        return {"total": (1 - ratio) * terms["cross_entropy"] + ratio * terms["shifted"], **terms}

    def draws(self, share: Share) -> dict[str, Any]:
        """Returns the part of the first image in a mixture, and who is mixed with whom."""
        if self.stage.mixup == 0:
            return {}
        weight = torch.distributions.Beta(self.stage.mixup, self.stage.mixup).sample()
        return {"mix": weight, "partner": share.of(torch.randperm(share.whole))}

    def _mix(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mixup within the batch; an image counts for the class of its first label throughout."""
        if self.stage.mixup == 0:
            return images, self._one_hot(labels)
        drawn = self.drawn(labels)
        weight, other = drawn["mix"], drawn["partner"]
        mixed = (1 - weight) * images + weight * self.gather(images)[other]
        return mixed, mixed_labels(labels, self.gather(labels)[other], weight, self.context.train.num_classes)

    def _one_hot(self, labels: Tensor) -> Tensor:
        return mixed_labels(labels, labels, torch.zeros((), device=labels.device), len(self.counts))

    @torch.no_grad()
    def _shifts(self, output: Output, targets: Tensor, labels: Tensor) -> ClassShift:
        """From the images of all processes, so that two take the step of one."""
        features, logits, targets, labels = map(self.gather, (*output, targets, labels))
        classifier = linear_classifier(self.context)
        gradients = class_gradients(features, logits, targets, labels)
        return class_shifts(gradients, classifier.weight, classifier.bias, self.counts, self.stage.radius)


class FeatureNoise(ClassifierTraining):
    """Trains the classifier on features and on features moved against it, more so for rare classes."""

    capturable = True

    def __init__(self, common: CommonSettings, stage: NoiseSettings, counts: np.ndarray) -> None:
        """Computes the strength of each class."""
        super().__init__(common, stage)
        self.stage = stage
        self.strengths = class_strengths(counts, stage.divisor)

    def loss(self, views: Mapping[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the plain and the noisy cross entropy, and their weighted sum."""
        features, classifier = views["features"], linear_classifier(self.context)
        logits = classifier(features)
        noise = feature_noise(logits.detach(), labels, classifier.weight.detach(), self.strengths)
        terms = {
            "cross_entropy": cross_entropy(logits, labels),
            "noisy": weighted_cross_entropy(classifier(features + noise), labels, self.strengths),
        }
        share = self.noise_share(epoch)
        return {"total": (1 - share) * terms["cross_entropy"] + share * terms["noisy"], **terms}

    def changing(self, epoch: int, moment: float) -> dict[str, Any]:
        """Returns what changes in every stage, and b."""
        return {**super().changing(epoch, moment), "noise share": self.noise_share(moment)}

    def noise_share(self, epoch: float | Tensor) -> float | Tensor:
        """Returns b at a moment; where a graph is recorded, the tensor that will hold it."""
        if isinstance(epoch, Tensor):
            return self.now["noise share"]
        return min(self.stage.noise_limit, (int(epoch) + 1) / self.epochs)


def class_strengths(counts: np.ndarray, divisor: float) -> Tensor:
    """Returns v_c = log(n_max / n_c + 0.01) / divisor.

    >>> [round(value, 3) for value in class_strengths(np.array([100, 1]), 2.0).tolist()]
    [0.005, 2.303]
    """
    ratios = counts.max() / np.maximum(counts, 1)
    return torch.from_numpy(np.log(ratios + 0.01) / divisor).float()


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns class-wise sharpness, and the classifier with noise."""
    return [
        ClassSharpness(settings, settings.stage1, counts),
        FeatureNoise(settings, settings.stage2, counts),
    ]
