"""The E-step: the encoder is trained through the frozen classifier, with FDC (section 3.4.3)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

import numpy as np
from torch import Tensor

from lmd.data.feed.cuts import batch_sizes, cut
from lmd.data.feed.loader import Batch, batches_of
from lmd.data.feed.sampling import balanced_order, instance_order
from lmd.data.feed.views import seeded_view
from lmd.errors import advising
from lmd.graphed import GraphedStep, Inputs
from lmd.losses.classification import cross_entropy
from lmd.losses.distance import ClassMetric, prepare_metric
from lmd.losses.distribution import expectation_loss
from lmd.losses.gaussian import ClassGaussians
from lmd.models.network import Output, encoder_training
from lmd.processes.collectives import averaged
from lmd.runtime import derive_seed
from lmd.settings import CommonSettings, NonNegative, Optimisation, Settings
from lmd.stages.base import StageContext
from lmd.stages.calibration.m_step import RAISE_RIDGE
from lmd.stages.divided import average_gradients
from lmd.stages.optimisation import (
    Losses,
    RunningMeans,
    build_optimiser,
    load_optimiser,
    set_rate,
)


class EStepSettings(Settings):
    """How the encoder g is trained in each iteration."""

    optimisation: Optimisation = Optimisation(lr=1e-6, weight_decay=1e-4)
    """SGD of the encoder (rate: paper, section 4.2; decay: authors' code)"""
    distribution_weight: NonNegative = 1e-4
    """lambda_e, weight of Psi - Phi (paper, Table 4)"""
    distance: Literal["precision", "covariance_literal", "pooled_precision", "diagonal", "euclidean"] = (
        "precision"
    )
    """d_k of Psi and Phi: Mahalanobis (paper's text, authors' code), Sigma as eq. 10 prints it, or ours"""
    sampling: Literal["uniform", "balanced"] = "uniform"
    """images of an epoch: each once (paper, Table 5), or a class-balanced draw"""
    view: Literal["clean", "weak", "strong"] = "clean"
    """augmentation of the images (authors' code: none)"""
    batch_norm: Literal["frozen", "train"] = "frozen"
    """running statistics: kept (ours), or re-estimated as the authors' code does"""


class EStep:
    """One epoch of SGD on the encoder in each iteration."""

    def __init__(self, common: CommonSettings, settings: EStepSettings, iterations: int) -> None:
        """Keeps the settings; `iterations` is J."""
        self.common, self.settings, self.iterations = common, settings, iterations

    def prepare(self, context: StageContext) -> None:
        """Makes the optimiser of the encoder."""
        self.context = context
        self.optimiser = build_optimiser(context.network.encoder, self.settings.optimisation, self.common)

    def fit(self, gaussians: ClassGaussians, iteration: int) -> Losses:
        """Moves the encoder toward theta_g = argmin -sum_i log P(g(x_i, theta_g) | x_i, theta_f) (eq. 9).

        What is minimised on each batch is `expectation_loss` (Algorithm 1, lines 15-16).

        Raises:
            SettingsError: a covariance that the distance inverts is not positive definite.
        """
        metric, order = self._metric(gaussians), self._order(iteration)
        sizes = batch_sizes(len(order), self.common.batch, self.common.last_batch)
        steps = len(sizes)
        means = RunningMeans()
        # The statistics are others in each iteration, and so is the recording.
        runtime, take = self.context.runtime, partial(self._train_step, metric)
        step = GraphedStep(take, runtime.device, "the E-step", wanted=runtime.world == 1)
        with encoder_training(self.context.network, self.settings.batch_norm):
            for number, batch in enumerate(self._batches(order)):
                set_rate(self.optimiser, self.settings.optimisation, self.common,
                         iteration + number / steps, self.iterations)  # fmt: skip
                self.share = runtime.share(sizes[number])
                means.add(step({**batch._asdict(), "seed": self._view_seed(iteration)}), self.share.weight)
                self.context.on_step(number + 1, steps)
        return means.result(averaged)

    def _view_seed(self, iteration: int) -> int:
        return derive_seed(self.common.seed, iteration, self.settings.view)

    def _train_step(self, metric: ClassMetric | None, now: Inputs) -> dict[str, Tensor]:
        scale = self.context.network.scale
        images = seeded_view(self.settings.view, now["images"], now["index"], now["seed"], scale)
        with self.context.runtime.autocast():
            output = self.context.network(images)
        terms = self.loss(Output(output.features.float(), output.logits.float()), now["labels"], metric)
        self.descend(self.share.weighed(terms["expect"]))
        return terms

    def loss(self, output: Output, labels: Tensor, metric: ClassMetric | None) -> dict[str, Tensor]:
        """Returns the objective of a batch and its terms; without a metric (w/o FDC) the cross entropy."""
        if metric is None:
            label_term = cross_entropy(output.logits, labels)
            return {"expect": label_term, "expect_label": label_term}
        distances = metric.distances(output.features)
        loss = expectation_loss(output.logits, labels, distances, self.settings.distribution_weight)
        return {
            "expect": loss.total,
            "expect_label": loss.cross_entropy,
            "distribution_consistency": loss.distribution_consistency,
        }

    def descend(self, loss: Tensor) -> None:
        """Takes one step of the optimiser."""
        self.optimiser.zero_grad(set_to_none=True)
        self.context.runtime.backward(loss)
        average_gradients(self.optimiser)
        self.optimiser.step()

    def _metric(self, gaussians: ClassGaussians) -> ClassMetric | None:
        if self.settings.distribution_weight == 0:
            return None
        with advising(RAISE_RIDGE):
            return prepare_metric(gaussians, self.settings.distance)

    def _order(self, iteration: int) -> np.ndarray:
        seed, labels = derive_seed(self.common.seed, "stage2", "expect"), self.context.train.labels
        if self.settings.sampling == "balanced":
            return balanced_order(labels.numpy(), seed, iteration)
        return instance_order(len(labels), seed, iteration)

    def _batches(self, order: np.ndarray) -> Iterator[Batch]:
        """The epoch is cut into batches as in stage 1, and they are divided as there."""
        whole = cut(order, self.common.batch, self.common.last_batch)
        parts = [self.context.runtime.share(len(part)).of(part) for part in whole]
        return batches_of(self.context.train, parts, self.context.runtime.device)

    def state_dict(self) -> dict[str, Any]:
        """Returns the optimiser's state."""
        return self.optimiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        load_optimiser(self.optimiser, state)


class IdleEStep(EStep):
    """No E-step, where the encoder is frozen: the iterations estimate Gaussians and train the classifier."""

    def prepare(self, context: StageContext) -> None:
        """Makes no optimiser: there is nothing for it to move."""

    def fit(self, gaussians: ClassGaussians, iteration: int) -> Losses:
        """Returns no loss."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes nothing back."""
