"""The class Gaussians of ICC's iterations, from one streaming pass over the features; see eq. 6-7."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lmd.data.feed.sampling import balanced_order
from lmd.errors import advising
from lmd.losses.covariance import ledoit_wolf_coefficients, shrink
from lmd.losses.gaussian import ClassGaussians, ClassMoments, class_statistics, smooth
from lmd.models.encoder import num_features
from lmd.models.inference import BATCH, encode
from lmd.runtime import derive_seed
from lmd.settings import CommonSettings, Decay, NonNegative, Settings
from lmd.stages.base import StageContext
from lmd.stages.calibration.memory import check_memory, full_matrices

# Images encoded between two updates of the statistics: the features of this many are held at a time.
CHUNK = 8 * BATCH
DIVERGED = "lower 'stage1.optimisation.lr' or 'e_step.optimisation.lr': the encoder has diverged"


class StatisticsSettings(Settings):
    """How mu_k and Sigma_k are estimated (section 3.4.2)."""

    sampling: Literal["balanced", "uniform"] = "balanced"
    """images behind the estimate: a class-balanced draw (paper, eq. 7), or each image once (Table 5)"""
    decay: Decay = 0.999
    """limit of the moving average over iterations (paper: EMA; value of the authors' code); 0: none"""
    covariance: Literal["ridge", "oas", "ledoit_wolf", "pooled", "diagonal"] = "ridge"
    """regularisation of Sigma_k, so that it has an inverse (authors' code: ridge; the others are ours)"""
    ridge: NonNegative = 0.01
    """variance added to each channel of Sigma_k (authors' code)"""


class Statistics:
    """The class Gaussians that the M-step draws from and the E-step measures distances to."""

    def __init__(self, common: CommonSettings, settings: StatisticsSettings, keep_features: bool) -> None:
        """Keeps the settings; `keep_features` is for an M-step on real features."""
        self.seed = derive_seed(common.seed, "stage2", "statistics")
        self.settings = settings
        # Ledoit and Wolf's fourth moments need the features themselves, too.
        self.keep_features = keep_features or settings.covariance == "ledoit_wolf"
        self.smoothed: ClassGaussians | None = None
        self.shrinkage: Tensor | None = None

    def prepare(self, context: StageContext, iterations: int, distance: str) -> None:
        """Takes the network over.

        Raises:
            SettingsError: the covariances, or what the `distance` makes of them, do not fit into memory.
        """
        self.context = context
        self.channels = num_features(context.network.encoder)
        averaged = iterations if self.settings.decay > 0 else 1
        matrices = full_matrices(self.settings.covariance, distance)
        check_memory(context.train.counts, self.channels, averaged, context.runtime.device, matrices)

    def update(self, iteration: int) -> ClassGaussians:
        """Returns the smoothed and regularised class Gaussians of the present encoder (eq. 7).

            mu_k = (1/n_k) sum_i w_i z_i,   Sigma_k = (1/(n_k - 1)) sum_i w_i (z_i - mu_k)(z_i - mu_k)^T

        z_i = g(x_i), w_i is how often image i was drawn, n_k = sum_i w_i. N class-balanced draws make
        E[n_k] = N / K, which gives the factors K / N and K / (N - K) that are printed. `class_statistics`
        computes both moments, `smooth` averages them over the iterations, `shrink` regularises Sigma_k.

        Raises:
            SettingsError: the features are not finite.
        """
        self.current = self._estimate(*self._drawn(iteration))
        self.smoothed = smooth(self.smoothed, self.current, iteration, self.settings.decay)
        return self.regularised(self.smoothed)

    def regularised(self, gaussians: ClassGaussians) -> ClassGaussians:
        """Returns the Gaussians with covariances that have an inverse."""
        return shrink(gaussians, self.settings.covariance, self.settings.ridge, self.shrinkage)

    def _drawn(self, iteration: int) -> tuple[np.ndarray, Tensor | None]:
        """The distinct rows that the statistics are made of, and how often each was drawn."""
        labels = self.context.train.labels.numpy()
        if self.settings.sampling == "uniform":
            return np.arange(len(labels)), None
        rows, times = np.unique(balanced_order(labels, self.seed, iteration), return_counts=True)
        return rows, torch.from_numpy(times).to(self.context.runtime.device)

    def _estimate(self, rows: np.ndarray, weights: Tensor | None) -> ClassGaussians:
        if not self.keep_features:
            return stream_statistics(self.context, self.channels, rows, weights)
        self.features, self.labels = encode_rows(self.context, rows)
        num_classes = self.context.train.num_classes
        with advising(DIVERGED):
            current = class_statistics(self.features, self.labels, num_classes, weights)
        if self.settings.covariance == "ledoit_wolf":
            self.shrinkage = ledoit_wolf_coefficients(self.features, self.labels, num_classes)
        return current

    def artefacts(self) -> dict[str, Tensor]:
        """Returns the smoothed class Gaussians, in fp32, to be kept beside the model."""
        if self.smoothed is None:
            return {}
        return self.smoothed.to(torch.float32).to("cpu").as_dict()

    def state_dict(self) -> dict[str, Any]:
        """Returns the smoothed statistics."""
        smoothed = None if self.smoothed is None else self.smoothed.as_dict()
        return {"smoothed": smoothed, "shrinkage": self.shrinkage}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        if state["smoothed"] is not None:
            self.smoothed = ClassGaussians.from_dict(state["smoothed"]).to(self.context.runtime.device)
        self.shrinkage = state["shrinkage"]


def stream_statistics(
    context: StageContext, channels: int, rows: np.ndarray, weights: Tensor | None
) -> ClassGaussians:
    """Returns the class statistics of the rows' features, each encoded once and kept no longer than needed.

    Processes encode together, and each adds up all features: the roots of the covariances, which virtual
    features are drawn with, are those of one process, bit by bit. Merged ones would be others.
    """
    moments = ClassMoments(context.train.num_classes, channels, context.runtime.device)
    for start in range(0, len(rows), CHUNK):
        features, labels = encode_rows(context, rows[start : start + CHUNK])
        with advising(DIVERGED):
            moments.add(features, labels, None if weights is None else weights[start : start + CHUNK])
    return moments.gaussians()


def encode_rows(context: StageContext, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Returns the features [N, C] and labels [N] of some training images, usable outside inference mode."""
    features = encode(context.network, context.train, context.runtime, rows).features.clone()
    return features, context.train.labels[torch.from_numpy(rows)].to(features.device)
