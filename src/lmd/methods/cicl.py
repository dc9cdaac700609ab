"""CICL: supervised contrastive learning on balanced batches, then a linear classifier.

Marrakchi, Makansi, Brox: "Fighting class imbalance with contrastive learning", MICCAI 2021. Stage 1 trains
the encoder alone; h is a projection of its features that exists in this stage only:

    L = (t / 0.07) mean_i -(1/|P(i)|) sum_{p in P(i)} log [ exp(h_i.h_p / t) / sum_{a != i} exp(h_i.h_a / t) ]

over two views of each image, every class alike in a batch. Stage 2 freezes the encoder and learns a linear
classifier by cross entropy. Until then the network's classifier is untrained: what validation says of it in
stage 1 means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import model_validator
from torch import Tensor, nn

from lmd.data.feed.loader import Batch
from lmd.data.feed.sampling import Sampling, sampled_prior
from lmd.data.feed.views import seeded_view
from lmd.losses.contrastive import supervised_contrastive
from lmd.model_card import Prior
from lmd.models.classifier import LinearClassifier
from lmd.models.encoder import num_features
from lmd.runtime import derive_seed
from lmd.settings import CommonSettings, Count, Optimisation, Positive, budgets
from lmd.stages.base import Stage, StageContext, Supervised, SupervisedSettings
from lmd.stages.classifier_training import ClassifierSettings, ClassifierTraining
from lmd.stages.optimisation import steps_per_epoch

PAPER = "Marrakchi, Makansi and Brox, MICCAI 2021"
STATUS = "baseline of the paper"
PRIOR: Prior = "unknown"  # Stage 2 has class-balanced images: see `sampled_prior`.
BUDGETS = budgets()


class ContrastiveSettings(SupervisedSettings):
    """Stage 1; "class_aware" sampling has each class equally often in every batch."""

    sampling: Sampling = "class_aware"
    """how often an epoch has an image: each class alike in every batch (authors' code), or by another rule"""
    temperature: Positive = 0.1
    """t, divisor of the similarities of two projections (authors' code)"""
    projection: Count = 128
    """dimensions of the projection h (authors' code)"""
    view: Literal["weak", "strong"] = "strong"
    """kind of both views of an image (ours: LMD's strong view, in place of the authors' augmentation)"""


class LinearSettings(ClassifierSettings):
    """Stage 2: cross entropy on frozen features, class-balanced too."""

    epochs: Count = 20
    """passes over the cached features (ours; authors' code: 100, at batch 512)"""
    optimisation: Optimisation = Optimisation(lr=0.1, weight_decay=1e-4, schedule="cosine")
    """gradient descent of the classifier (rate and schedule: ours; momentum and decay: authors' code)"""
    sampling: Sampling = "class_aware"
    """how often an epoch has an image's features: the classes in turn (authors' code), or by another rule"""


class Settings(CommonSettings):
    """Two stages; BatchNorm is re-estimated between them, because stage 1 saw no clean image."""

    bn_recalibrate: bool = True
    """re-estimate BatchNorm on clean training images after stage 1, which saw none (ours: on)"""
    stage1: ContrastiveSettings = ContrastiveSettings()
    """stage 1: the encoder, contrastive learning (paper)"""
    stage2: LinearSettings = LinearSettings()
    """stage 2: a linear classifier on the frozen encoder (paper)"""

    @model_validator(mode="after")
    def _refuse_a_frozen_encoder(self) -> Settings:
        if self.freeze == "all":
            raise ValueError("freeze=all leaves stage 1 of cicl nothing to train: take stem, or method ce")
        return self


class Contrastive(Supervised):
    """Trains the encoder and a projection, so that two views agree with all of their class."""

    view_names = ("first", "second")
    capturable = True

    def __init__(self, common: CommonSettings, stage: ContrastiveSettings) -> None:
        """Keeps the settings."""
        super().__init__(common, stage)
        self.stage = stage

    def prepare(self, context: StageContext) -> None:
        """Makes the projection C -> C -> 128, which the network never sees."""
        channels, seed = num_features(context.network.encoder), derive_seed(self.common.seed, "projection")
        self.projection = nn.Sequential(
            LinearClassifier(channels, channels, seed),
            nn.ReLU(),
            LinearClassifier(channels, self.stage.projection, seed + 2),
        ).to(context.runtime.device)
        super().prepare(context)

    def trained(self) -> nn.Module:
        """Returns encoder and projection: the classifier waits for stage 2."""
        return nn.ModuleList([self.network.encoder, self.projection])

    def order(self, epoch: int) -> np.ndarray:
        """Returns an epoch of balanced batches."""
        if self.sampling != "class_aware":
            return super().order(epoch)
        labels, seed = self.context.train.labels, derive_seed(self.common.seed, self.name, "balanced", epoch)
        return balanced_batches(labels.numpy(), self.common.batch, seed, self.common.last_batch)

    def views(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        """Returns two independent draws of the same view."""
        kind, scale = self.stage.view, self.network.scale
        return {
            name: seeded_view(kind, batch.images, batch.index, self.view_seed(name, epoch), scale)
            for name in self.view_names
        }

    def view_seed(self, name: str, epoch: int | Tensor) -> int | Tensor:
        """Returns the seed of a draw: both are of the same view."""
        if isinstance(epoch, Tensor):
            return super().view_seed(name, epoch)
        seed = self.common.seed
        return derive_seed(
            seed if name == "first" else derive_seed(seed, "second view"), epoch, self.stage.view
        )

    def loss(self, views: Mapping[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the contrastive loss over the views of all processes."""
        images = torch.cat([views["first"], views["second"]])
        with self.context.runtime.autocast():
            projections = self.projection(self.network(images).features)
        whole = torch.cat([self.gather(half) for half in projections.float().chunk(2)])
        loss = supervised_contrastive(whole, self.gather(labels).repeat(2), self.stage.temperature)
        return {"total": loss, "contrastive": loss}

    def state_dict(self) -> dict[str, Any]:
        """Returns the projection's weights beside the optimiser's state."""
        return {**super().state_dict(), "projection": dict(self.projection.state_dict())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        super().load_state_dict(state)
        self.projection.load_state_dict(state["projection"])


def balanced_batches(labels: np.ndarray, batch: int, seed: int, last: str = "drop") -> np.ndarray:
    """Returns the rows of an epoch in which each batch holds batch // K or one more image of each class.

    The images of a class are cycled through: none comes twice before all have come. The places that K does
    not divide go to classes drawn anew for each batch. An epoch has as many batches as one over all images.

    >>> rows = balanced_batches(np.array([0, 0, 0, 0, 1]), batch=4, seed=0)
    >>> [int(row) for row in rows].count(4)
    2
    """
    generator = np.random.default_rng(seed)
    classes = np.unique(labels)
    each, rest = divmod(batch, len(classes))
    steps = steps_per_epoch(len(labels), batch, last)
    plan = [[*np.repeat(classes, each), *generator.permutation(classes)[:rest]] for _ in range(steps)]
    drawn = np.concatenate([generator.permutation(places) for places in plan])
    rows = np.empty(len(drawn), dtype=np.int64)
    for label in classes:
        places = np.flatnonzero(drawn == label)
        images = np.flatnonzero(labels == label)
        cycles = -(-len(places) // len(images))
        cycled = [generator.permutation(images) for _ in range(cycles)]
        rows[places] = np.concatenate([images[:0], *cycled])[: len(places)]
    return rows


def prior(settings: Settings) -> Prior:
    """Returns what the sampling of the images makes of the frequency of classes."""
    return sampled_prior(settings.stage2.sampling)


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns contrastive learning and the linear classifier."""
    return [Contrastive(settings, settings.stage1), ClassifierTraining(settings, settings.stage2)]
