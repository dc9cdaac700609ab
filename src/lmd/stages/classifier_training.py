"""A stage after the encoder is trained: a classifier on cached features.

The encoder is frozen, BatchNorm in evaluation mode. Each training image is encoded once, unaugmented. Every
method of this kind then costs seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from torch import Tensor, nn

from lmd.data.feed.cuts import cut
from lmd.data.feed.loader import Batch, batches_of
from lmd.data.feed.sampling import Sampling
from lmd.losses.classification import cross_entropy
from lmd.models.inference import encode
from lmd.settings import CommonSettings, Count, Optimisation
from lmd.stages.base import Supervised, SupervisedSettings


class ClassifierSettings(SupervisedSettings):
    """A classifier on frozen features: 10 epochs of SGD, class-balanced (Kang et al., ICLR 2020)."""

    epochs: Count = 10
    """passes over the cached features (authors' code of Kang et al.)"""
    optimisation: Optimisation = Optimisation(lr=0.1, weight_decay=5e-4, schedule="cosine")
    """gradient descent of the classifier (ours: Kang et al. have a rate of 0.2 at batch 512)"""
    sampling: Sampling = "balanced"
    """how often an epoch has an image's features: balanced (paper of Kang et al.), or by another rule"""
    classifier: Literal["new", "kept"] = "new"
    """train a new classifier (paper of Kang et al.), or go on with that of stage 1"""


class ClassifierTraining(Supervised):
    """Trains the classifier alone, on the cached features of clean images; override `criterion`."""

    capturable = True

    name = "stage2"
    divided = False  # A step costs less than what processes would have to tell each other.

    def __init__(self, common: CommonSettings, stage: ClassifierSettings) -> None:
        """Keeps the settings; a new classifier is linear unless a subclass says otherwise."""
        super().__init__(common, stage)
        self.features: Tensor | None = None
        if stage.classifier == "new" and self.wanted_classifier is None:
            self.wanted_classifier = ("linear", None)
        elif stage.classifier == "kept":
            self.wanted_classifier = None

    def trained(self) -> nn.Module:
        """Returns the classifier."""
        return self.network.classifier

    def set_mode(self) -> None:
        """Keeps the network in evaluation mode, and encodes the training images on the first call."""
        self.network.eval()
        if self.features is None:
            # Not in `prepare`: a run that goes on has not loaded its weights there.
            self.features = encode(self.network, self.context.train, self.context.runtime).features.clone()

    def batches(self, order: np.ndarray) -> Iterator[Batch]:
        """Yields features in the place of images."""
        assert self.features is not None
        train = replace(self.context.train, pixels=self.features)
        parts = cut(order, self.common.batch, self.common.last_batch)
        return batches_of(train, parts, self.context.runtime.device)

    def views(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        """Returns the features as the only view."""
        return {"features": batch.images}

    def loss(self, views: Mapping[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the criterion on the classifier's logits, under its own name and as the total."""
        terms = self.criterion(self.network.classifier(views["features"]), labels, epoch)
        return {"total": next(iter(terms.values())), **terms}

    def criterion(self, logits: Tensor, labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the named terms of the logits; the first is minimised."""
        return {"cross_entropy": cross_entropy(logits, labels)}
