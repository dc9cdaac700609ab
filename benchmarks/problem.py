"""What is measured: class counts, synthetic features, and a stage that needs no images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lmd.data.feed.loader import ImageSet
from lmd.losses.covariance import shrink
from lmd.losses.gaussian import ClassGaussians, class_statistics
from lmd.models.classifier import build_classifier
from lmd.models.network import Network
from lmd.runtime import Runtime
from lmd.settings import CommonSettings
from lmd.stages.base import StageContext
from lmd.stages.calibration.m_step import MStep, MStepSettings, build_m_step
from lmd.stages.calibration.statistics import Statistics, StatisticsSettings

# ISIC 2019, most frequent class first.
ISIC2019 = (12875, 4522, 3323, 2624, 867, 628, 253, 239)


def long_tail(counts: tuple[int, ...], imbalance: float, share: float = 0.7) -> tuple[int, ...]:
    """Returns the training counts of the Pareto subsampling n_k mu^k, mu^(K-1) = n_0 / (n_last r)."""
    step = (counts[0] / (counts[-1] * imbalance)) ** (1 / (len(counts) - 1))
    return tuple(round(share * math.ceil(n * step**k)) for k, n in enumerate(counts))


def geometric(first: int, last: int, num_classes: int) -> tuple[int, ...]:
    """Returns counts that fall geometrically from one class to the next."""
    return tuple(int(n) for n in np.geomspace(first, last, num_classes).round())


@dataclass(frozen=True)
class Size:
    """How large the measured problem is."""

    counts: tuple[int, ...]
    channels: int
    virtual_per_class: int
    m_step_batch: int
    fdc_counts: tuple[int, ...]
    fdc_batch: int
    # The long run that judges gradients averages this many times R features of each class.
    long_run: int


FULL = Size(long_tail(ISIC2019, 100), 512, 50_000, 352, geometric(1000, 5, 23), 128, 40)
QUICK = Size((60, 30, 12, 5), 24, 2000, 100, geometric(40, 3, 5), 16, 10)


def features_of(counts: tuple[int, ...], channels: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Returns features with a power-law spectrum, each class with its own mean and scales, and labels."""
    random = torch.Generator().manual_seed(seed)
    spectrum = torch.arange(1, channels + 1).pow(-0.5)
    basis = torch.linalg.qr(torch.randn(channels, channels, generator=random)).Q
    parts: list[Tensor] = []
    for count in counts:
        scale = spectrum * torch.rand(channels, generator=random).add(0.5)
        mean = 1.0 + 0.7 * torch.randn(channels, generator=random) * spectrum
        parts.append((torch.randn(count, channels, generator=random) * scale) @ basis + mean)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return torch.cat(parts), labels


def gaussians_of(counts: tuple[int, ...], channels: int, device: str = "cpu") -> ClassGaussians:
    """Returns the statistics of such features, not yet regularised."""
    features, labels = features_of(counts, channels)
    return class_statistics(features.to(device), labels.to(device), len(counts))


def m_step_of(size: Size, device: str, **changes: Any) -> MStep:
    """Returns the M-step of the package, ready to `fit` class Gaussians: what is timed."""
    wanted = {"virtual_per_class": size.virtual_per_class, "batch": size.m_step_batch, **changes}
    common, settings = CommonSettings(), MStepSettings.model_validate(wanted)
    statistics = Statistics(common, StatisticsSettings(), keep_features=False)
    labels = torch.repeat_interleave(torch.arange(len(size.counts)), torch.tensor(size.counts))
    images = ImageSet(torch.zeros(len(labels), 3, 1, 1, dtype=torch.uint8), labels, len(size.counts))
    runtime = Runtime(accelerator=device)
    network = Network(nn.Linear(1, 1), new_classifier(size)).to(runtime.device)
    m_step = build_m_step(common, settings, statistics, real_features=False)
    m_step.prepare(StageContext(network, images, runtime, lambda done, total: None), 1)
    return m_step


def new_classifier(size: Size) -> nn.Module:
    """Returns an untrained linear classifier."""
    return build_classifier("linear", size.channels, len(size.counts), seed=0)


def regularised(gaussians: ClassGaussians) -> ClassGaussians:
    """Returns the Gaussians as ICC's defaults regularise them."""
    return shrink(gaussians, "ridge", 0.01)
