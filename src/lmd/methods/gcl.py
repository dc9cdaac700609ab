"""GCL (Gaussian clouded logits): noise on the logits that is stronger the rarer the class is.

Li, Cheung, Lu, Hu, Lan, Huang: "Adjusting logit in Gaussian form for long-tailed visual recognition", IEEE
TAI 2024, which the LMD paper cites: the angular form. Li, Cheung, Lu: "Long-tailed visual recognition via
Gaussian clouded logit adjustment", CVPR 2022: the cosine form. With a normalised classifier, delta_k in
[0, 1] the rarity of a class and e ~ N(0, (1/3)^2) clipped to [-1, 1] for each image and class:

    s_k = S cos(theta_k + (pi/2) a delta_k |e_k| + m [k = y])           angular (default)
    s_k = S (cos_k - a delta_k |e_k| - m [k = y])                       cosine

Stage 1 trains all of it with cross entropy and mixup; stage 2 goes on with the classifier alone,
class-balanced, with a focal loss whose factor has no gradient. The network predicts without noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lmd.data.feed.sampling import Sampling
from lmd.errors import SettingsError, advising
from lmd.losses.classification import cross_entropy
from lmd.losses.cloud import angular_clouded_logits, clipped_noise, cloud_sizes, clouded_logits
from lmd.losses.focal import focal_loss
from lmd.model_card import Prior
from lmd.models.classifier import CosineClassifier
from lmd.processes.shares import Share
from lmd.settings import CommonSettings, Count, NonNegative, Optimisation, Positive, budgets
from lmd.stages.base import Stage, StageContext
from lmd.stages.classifier_training import ClassifierSettings, ClassifierTraining
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings

PAPER = "Li et al., IEEE TAI 2024, arXiv 2305.10648; Li, Cheung, Lu, CVPR 2022, arXiv 2305.11733"
STATUS = "baseline of the paper"
PRIOR: Prior = "unknown"  # Noise by rarity, and a focal loss.
BUDGETS = budgets()

Form = Literal["angular", "cosine"]

# S and m of stage 2: the authors' scripts for Places-LT (angular) and CIFAR (cosine).
_SECOND: dict[Form, tuple[float, float]] = {"angular": (30.0, 0.0), "cosine": (20.0, 0.1)}


class CloudSettings(CrossEntropySettings):
    """Stage 1: encoder and classifier."""

    scale: Positive = 30.0
    """S, factor on the cosines (authors' code)"""
    margin: NonNegative = 0.0
    """m, margin of the label: an angle in radians, or a cosine in the cosine form (authors' code)"""
    mixup_alpha: NonNegative = 1.0
    """alpha of mixup's Beta(alpha, alpha) (authors' code); 0: no mixup"""


class CloudClassifierSettings(ClassifierSettings):
    """Stage 2: the classifier."""

    epochs: Count = 30
    """passes over the cached features (authors' code: CIFAR)"""
    # The authors' rate of 0.1 enters their schedule as 0.02 of it, at its highest.
    optimisation: Optimisation = Optimisation(lr=0.002, weight_decay=2e-4, schedule="cosine_per_epoch")
    """gradient descent of the classifier (authors' code with its default, --lr 0.1)"""
    sampling: Sampling = "balanced"
    """how often an epoch has an image's features: class-balanced draws (authors' code); paper: `cben`"""
    classifier: Literal["new", "kept"] = "kept"
    """go on with the classifier of stage 1 (authors' code), or train a new one"""
    scale: Positive | None = None
    """S of stage 2 (authors' code); null: 30 in the angular form, 20 in the cosine form"""
    margin: NonNegative | None = None
    """m of stage 2 (authors' code); null: 0 in the angular form, 0.1 in the cosine form"""
    gamma: NonNegative = 1.0
    """exponent of (1 - p) in the focal loss (authors' code)"""


class Settings(CommonSettings):
    """Two stages with the same form of noise."""

    form: Form = "angular"
    """what the noise shifts: the angle (paper of 2024, which LMD cites), or the cosine (paper of 2022)"""
    noise: NonNegative = 0.5
    """a, strength of the noise (authors' code)"""
    easy_margin: bool = True
    """shift angles below pi/2 alone (authors' code); for `angular`"""
    stage1: CloudSettings = CloudSettings()
    """stage 1: encoder and classifier (paper)"""
    stage2: CloudClassifierSettings = CloudClassifierSettings()
    """stage 2: the classifier on the frozen encoder (paper)"""


class Cloud:
    """What both stages do to the logits of a normalised classifier."""

    def __init__(self, settings: Settings, counts: np.ndarray, scale: float, margin: float) -> None:
        """Takes the rarity of the classes from their counts."""
        self.settings = settings
        with advising("choose another method"):
            self.sizes = cloud_sizes(torch.from_numpy(counts))
        self.scale, self.margin = scale, margin

    def __call__(self, logits: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        """Returns the logits with noise and the margin of the labels."""
        settings, cosines = self.settings, logits / self.scale
        rest = (self.scale, settings.noise, self.margin)
        if settings.form == "cosine":
            return clouded_logits(cosines, labels, self.sizes, noise, *rest)
        return angular_clouded_logits(cosines, labels, self.sizes, noise, *rest, settings.easy_margin)


class CloudTraining(CrossEntropy):
    """Stage 1: mixed images, clouded logits, cross entropy."""

    capturable = True

    def __init__(self, settings: Settings, counts: np.ndarray) -> None:
        """Asks for a normalised classifier."""
        stage = settings.stage1
        super().__init__(settings, stage)
        self.wanted_classifier = ("cosine", stage.scale)
        self.mixup_alpha = stage.mixup_alpha
        self.cloud = Cloud(settings, counts, stage.scale, stage.margin)

    def prepare(self, context: StageContext) -> None:
        """Puts the rarity of the classes beside the batches."""
        super().prepare(context)
        self.cloud.sizes = self.cloud.sizes.to(context.runtime.device)

    def draws(self, share: Share) -> dict[str, Any]:
        """Returns who is mixed with whom, and the noise of both labels."""
        mix, partner = draw_mixture(share.whole, self.mixup_alpha)
        shape = share.whole, len(self.cloud.sizes)
        noise = {name: share.of(clipped_noise(shape)) for name in ("noise", "noise of partner")}
        return {"mix": mix, "partner": share.of(partner), **noise}

    def loss(self, views: Mapping[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the cross entropy to both labels of each mixed image, by their shares."""
        (images,), drawn = views.values(), self.drawn(labels)
        share, partner = drawn["mix"], drawn["partner"]
        with self.context.runtime.autocast():
            output = self.network(share * images + (1 - share) * self.gather(images)[partner])
        logits, others = output.logits.float(), self.gather(labels)[partner]
        first = cross_entropy(self.cloud(logits, labels, drawn["noise"]), labels)
        second = cross_entropy(self.cloud(logits, others, drawn["noise of partner"]), others)
        loss = share * first + (1 - share) * second
        return {"total": loss, "clouded_cross_entropy": loss}


def draw_mixture(batch: int, alpha: float) -> tuple[float, Tensor]:
    """Returns mixup's share from Beta(alpha, alpha), 1 at alpha = 0, and who is mixed with whom."""
    if alpha == 0:
        return 1.0, torch.arange(batch)
    share = torch.distributions.Beta(alpha, alpha).sample()
    return float(share), torch.randperm(batch)


class CloudClassifierTraining(ClassifierTraining):
    """Stage 2: the normalised classifier on frozen features, clouded logits, focal loss."""

    capturable = True

    def __init__(self, settings: Settings, counts: np.ndarray) -> None:
        """Goes on with the classifier of stage 1, unless a new one is asked for."""
        stage = settings.stage2
        super().__init__(settings, stage)
        scale, margin = _SECOND[settings.form]
        self.scale = scale if stage.scale is None else stage.scale
        if stage.classifier == "new":
            self.wanted_classifier = ("cosine", self.scale)
        self.stage = stage
        self.cloud = Cloud(settings, counts, self.scale, margin if stage.margin is None else stage.margin)

    def prepare(self, context: StageContext) -> None:
        """Gives the classifier the scale of this stage.

        Raises:
            SettingsError: stage 1 left no normalised classifier, as after `--from` a run of another kind.
        """
        super().prepare(context)
        classifier = self.network.classifier
        if not isinstance(classifier, CosineClassifier):
            raise SettingsError(
                f"gcl goes on with a cosine classifier, stage 1 left {type(classifier).__name__}; "
                "set stage2.classifier=new"
            )
        classifier.scale.fill_(self.scale)
        self.cloud.sizes = self.cloud.sizes.to(context.runtime.device)

    def draws(self, share: Share) -> dict[str, Any]:
        """Returns the noise of each image."""
        return {"noise": share.of(clipped_noise((share.whole, len(self.cloud.sizes))))}

    def criterion(self, logits: Tensor, labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the focal loss of the clouded logits."""
        clouded = self.cloud(logits, labels, self.drawn(labels)["noise"])
        loss = focal_loss(clouded, labels, self.stage.gamma, detach_modulator=True)
        return {"clouded_focal": loss}


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns both stages.

    Raises:
        SettingsError: all classes have as many images.
    """
    return [CloudTraining(settings, counts), CloudClassifierTraining(settings, counts)]
