"""One unit for all features, so that no setting depends on how large an encoder makes them."""

from __future__ import annotations

import numpy as np

from lmd.losses.covariance import variances_of
from lmd.losses.gaussian import ClassGaussians, combine


def common_scale(gaussians: ClassGaussians) -> float:
    """Returns the mean standard deviation within classes: of all channels, each class counted alike.

    Classes of one image say nothing of it. It is 1 where no class has any spread.
    """
    spreads = [spread for spread, n in zip(gaussians.spread, gaussians.counts, strict=True) if n > 1]
    variances = [float(variances_of(spread).mean()) for spread in spreads]
    return float(np.sqrt(np.mean(variances))) if any(variances) else 1.0


def in_units(gaussians: ClassGaussians, scale: float) -> ClassGaussians:
    """Returns the Gaussians of features less the middle of the class means, divided by a scale."""
    mean = (gaussians.mean - gaussians.mean.mean(0)) / scale
    spread = tuple(combine([scale**-2], [part]) for part in gaussians.spread)
    return ClassGaussians(mean, spread, gaussians.counts, gaussians.floor / scale**2)
