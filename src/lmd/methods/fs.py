"""FS, Flexible Sampling: begin with a few prototypical images, add difficult ones when progress stops.

Ju et al.: "Flexible sampling for long-tailed skin lesion classification", MICCAI 2022, arXiv 2204.03161.
The rules and constants are those of the authors' code, PyJulie/FlexSampling at commit 17745eb, alone:

    anchors       min(n_k, max(2, floor(s n_max))) images of class k, those nearest to its mean feature
    training      cross entropy on the active set A, at first the anchors: an epoch sees each once; Adam
    query         after the warm-up, when accuracy on validation has not risen for `patience` epochs
    difficulty    q_k = (1 - acc_k) / sum_j (1 - acc_j),    acc_k the accuracy of class k on validation
    quota         max(1, floor(ratio |P_k| q_k)) of the pool P_k, the images of class k outside A
    which         those of highest mutual information of label and weights (BALD), over 10 passes with dropout

After a query the optimiser starts anew. Departures are listed in docs/methods/fs.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lmd.amounts import Share
from lmd.data.feed.sampling import instance_order
from lmd.errors import SettingsError
from lmd.losses.disagreement import disagreement
from lmd.model_card import Prior
from lmd.models.inference import encode
from lmd.runtime import derive_seed
from lmd.settings import CommonSettings, Count, Fraction, Optimisation, budgets
from lmd.stages.base import Stage, StageContext
from lmd.stages.cross_entropy import CrossEntropy, CrossEntropySettings
from lmd.stages.optimisation import Losses, build_optimiser

PAPER = "Ju et al., MICCAI 2022, arXiv 2204.03161; code PyJulie/FlexSampling 17745eb"
STATUS = "baseline of the paper"
PRIOR: Prior = "unknown"  # The active set has frequencies of its own, which change.
BUDGETS = budgets(
    smoke={"stage1": {"warmup": 0, "patience": 0}},
    short={"stage1": {"warmup": 4, "patience": 1}},
    auto={"stage1": {"warmup": Share(1 / 3), "patience": Share(1 / 12)}},
)

Epochs = Annotated[int, Field(ge=0)]


class FlexibleSettings(CrossEntropySettings):
    """The one stage: how the active set begins and grows."""

    OLD_NAMES: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("variant", "anchor_share", "query_every", "difficulty", "instance"), ""
    )

    optimisation: Optimisation = Optimisation(optimiser="adam", lr=3e-4)
    """gradient descent of the stage, started anew after each query (authors' code)"""
    sampling: Literal["instance"] = "instance"
    """how often an epoch has an image of the active set: each once (authors' code)"""
    anchor_scaling: Fraction = 0.1
    """s: most images of a class at the start, as a part of the largest class (authors' code)"""
    anchor_minimum: Count = 2
    """images of a class at the start, where s would give fewer (authors' code)"""
    warmup: Epochs = 30
    """epochs before the first query (authors' code)"""
    patience: Epochs = 10
    """epochs without a better accuracy on validation before a query (authors' code)"""
    query_ratio: Fraction = 0.1
    """part of a class's pool that a query takes, times the difficulty of the class (authors' code)"""
    passes: Annotated[int, Field(ge=2)] = 10
    """passes with dropout behind each BALD score (authors' code)"""
    dropout: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """probability of dropping a feature in those passes (ours: the authors' code has no dropout layer)"""


class Settings(CommonSettings):
    """Flexible Sampling's settings."""

    stage1: FlexibleSettings = FlexibleSettings()
    """the one stage: cross entropy on an active set that grows (paper)"""


class FlexibleSampling(CrossEntropy):
    """Cross entropy on an active set of images, which grows when validation no longer improves."""

    capturable = True

    def __init__(self, common: CommonSettings, stage: FlexibleSettings) -> None:
        """Keeps the settings."""
        super().__init__(common, stage)
        self.stage = stage
        self.active: Tensor | None = None  # [N]; None before the first epoch
        self.best, self.stale = 0.0, 0  # The best accuracy on validation, and the epochs since.

    def prepare(self, context: StageContext) -> None:
        """Takes the network over.

        Raises:
            SettingsError: there are no validation images to measure difficulty on.
        """
        if context.val is None:
            raise SettingsError(
                "fs measures how difficult a class is on validation images: this data set has none"
            )
        super().prepare(context)

    def run_epoch(self, epoch: int) -> Losses:
        """Trains on the active set, and lets it grow where it is time."""
        if self.active is None:
            self.active = self._anchors()
        share = float(self.active.double().mean())
        losses = super().run_epoch(epoch)
        accuracy, of_classes = self._validate()
        self.stale = 0 if accuracy > self.best else self.stale + 1
        self.best = max(self.best, accuracy)
        if epoch >= self.stage.warmup and self.stale >= self.stage.patience and not bool(self.active.all()):
            self._query(epoch, of_classes)
        return {**losses, "active": share}

    def order(self, epoch: int) -> np.ndarray:
        """Returns the rows of the active set in a new order, each once."""
        assert self.active is not None
        rows = self.active.nonzero().squeeze(1).numpy()
        seed = derive_seed(self.common.seed, self.name)
        return rows[instance_order(len(rows), seed, epoch)]

    def _anchors(self) -> Tensor:
        train = self.context.train
        features = encode(self.network, train, self.context.runtime).features.cpu()
        return anchors(features, train.labels, self.stage.anchor_scaling, self.stage.anchor_minimum)

    def _validate(self) -> tuple[float, np.ndarray]:
        """Returns the accuracy on validation, of all images and of each class."""
        val = self.context.val
        assert val is not None
        hits = encode(self.network, val, self.context.runtime).logits.argmax(1).cpu() == val.labels
        return float(hits.double().mean()), class_accuracies(hits, val.labels, val.num_classes)

    def _query(self, epoch: int, accuracies: np.ndarray) -> None:
        """Moves images of the pool into the active set, and starts the optimiser anew."""
        assert self.active is not None
        rows = (~self.active).nonzero().squeeze(1)
        labels = self.context.train.labels[rows]
        pool = torch.bincount(labels, minlength=len(accuracies)).numpy()
        wanted = quotas(pool, accuracies, self.stage.query_ratio)
        chosen = best_of_classes(self._scores(rows, epoch), labels, wanted)
        self.active = self.active.index_fill(0, rows[chosen], True)
        self.optimiser = build_optimiser(self.trained(), self.optimisation, self.common)
        self.train_step.release()  # What is recorded moves the old one.
        self.stale = 0

    def _scores(self, rows: Tensor, epoch: int) -> Tensor:
        """The BALD score of each image, over passes with dropout on its features."""
        seed = derive_seed(self.common.seed, self.name, "query", epoch)
        generator = torch.Generator().manual_seed(seed)
        features = encode(self.network, self.context.train, self.context.runtime, rows.numpy()).features
        kept = 1 - self.stage.dropout
        with torch.no_grad():
            posteriors: list[Tensor] = []
            for _ in range(self.stage.passes):
                mask = (torch.rand(features.shape, generator=generator) < kept).to(features)
                posteriors.append(self.network.classifier(features * mask / kept).softmax(1))
        return disagreement(torch.stack(posteriors)).cpu()

    def state_dict(self) -> dict[str, Any]:
        """Returns the active set and how validation went, beside the optimiser's state."""
        return {**super().state_dict(), "active": self.active, "best": self.best, "stale": self.stale}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        super().load_state_dict(state)
        self.active, self.best, self.stale = state["active"], state["best"], state["stale"]


def anchors(features: Tensor, labels: Tensor, scaling: float, minimum: int) -> Tensor:
    """Returns which images [N] begin: of each class those nearest (Euclidean) to its mean feature.

    Of a class of n_k images min(n_k, max(minimum, floor(scaling n_max))) are taken.

    >>> anchors(torch.tensor([[0.0], [1.0], [5.0], [9.0]]), torch.tensor([0, 0, 0, 1]), 0.5, 2).tolist()
    [True, True, False, True]
    """
    distances = torch.empty(len(labels))
    for label in labels.unique():
        mine = labels == label
        distances[mine] = (features[mine] - features[mine].mean(0)).norm(dim=1).to(distances)
    counts = torch.bincount(labels).numpy()
    wanted = np.minimum(counts, max(minimum, int(scaling * counts.max())))
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[best_of_classes(-distances, labels, wanted)] = True
    return chosen


def best_of_classes(scores: Tensor, labels: Tensor, wanted: np.ndarray) -> Tensor:
    """Returns the positions of the images of highest score, as many of each class as are wanted.

    >>> best_of_classes(torch.tensor([1.0, 3.0, 2.0]), torch.tensor([0, 0, 1]), np.array([1, 1])).tolist()
    [1, 2]
    """
    found = [torch.zeros(0, dtype=torch.int64)]
    for label, number in enumerate(wanted):
        mine = (labels == label).nonzero().squeeze(1)
        ranked = scores[mine].argsort(descending=True, stable=True)
        found.append(mine[ranked[: int(number)]])
    return torch.cat(found)


def class_accuracies(hits: Tensor, labels: Tensor, num_classes: int) -> np.ndarray:
    """Returns the accuracy of each class [K]; 0 for a class without images, which makes it most difficult.

    >>> class_accuracies(torch.tensor([True, False]), torch.tensor([0, 0]), 2).tolist()
    [0.5, 0.0]
    """
    counts = torch.bincount(labels, minlength=num_classes)
    right = torch.bincount(labels[hits], minlength=num_classes)
    return (right.double() / counts.clamp(min=1)).numpy()


def quotas(pool: np.ndarray, accuracies: np.ndarray, ratio: float) -> np.ndarray:
    """Returns how many images of each class to query [K], from the pool of each class and its accuracy.

        max(1, floor(ratio |P_k| q_k)),    q_k = (1 - acc_k) / sum_j (1 - acc_j)

    and 0 where the pool is empty; q_k is 1/K where every class has an accuracy of 1.

    >>> quotas(np.array([1000, 200, 0]), np.array([0.75, 0.5, 0.75]), 0.1).tolist()
    [25, 10, 0]
    """
    difficulty = 1 - accuracies
    total = difficulty.sum()
    shares = difficulty / total if total > 0 else np.full(len(pool), 1 / len(pool))
    return np.minimum(pool, np.maximum(1, np.floor(ratio * pool * shares).astype(np.int64)))


def stages(settings: Settings, counts: np.ndarray) -> list[Stage]:
    """Returns the one stage."""
    return [FlexibleSampling(settings, settings.stage1)]
