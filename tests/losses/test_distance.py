"""The distances of equations 10-11, against scipy and their quadratic forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from lmd.losses.covariance import pooled_covariance, shrink
from lmd.losses.distance import prepare_metric
from lmd.losses.gaussian import ClassGaussians, class_statistics
from tests.losses.test_gaussian import sample

METRICS = ["precision", "covariance_literal", "pooled_precision", "diagonal", "euclidean"]


def test_mahalanobis_is_scipys() -> None:
    features, labels = sample([2, 40], channels=5)
    target = shrink(class_statistics(features, labels, 2), "ridge", 0.1)
    found = prepare_metric(target, dtype=torch.float64).distances(features[:5])
    for i in range(5):
        for k in range(2):
            inverse = np.linalg.inv(target.matrix(k).numpy())
            expected = mahalanobis(features[i].numpy(), target.mean[k].numpy(), inverse) ** 2
            assert float(found[i, k]) == pytest.approx(expected, rel=1e-9)


def metric_matrix(metric: str, target: ClassGaussians, k: int) -> np.ndarray:
    sigma = target.matrix(k).numpy()
    return {
        "precision": np.linalg.inv(sigma),
        "covariance_literal": sigma,
        "pooled_precision": np.linalg.inv(pooled_covariance(target).numpy()),
        "diagonal": np.diag(1 / np.diag(sigma)),
        "euclidean": np.eye(len(sigma)),
    }[metric]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("method", ["ridge", "oas", "pooled", "diagonal"])
def test_every_metric_is_its_quadratic_form(metric: str, method: str) -> None:
    """Classes of one image, of fewer images than channels, and of more."""
    features, labels = sample([1, 4, 7, 40], channels=8)
    target = shrink(class_statistics(features, labels, 4), method, 0.1)  # type: ignore[arg-type]
    prepared = prepare_metric(target, metric, torch.float64)  # type: ignore[arg-type]
    found = prepared.distances(features[:6])
    for i in range(6):
        for k in range(4):
            centred = (features[i] - target.mean[k]).numpy()
            expected = centred @ metric_matrix(metric, target, k) @ centred
            assert float(found[i, k]) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    torch.autograd.gradcheck(prepared.distances, features[:3].clone().requires_grad_())


@pytest.mark.parametrize("ridge", [0.01, 1.0])
def test_single_precision_agrees_with_the_definition(ridge: float) -> None:
    """Ridge .01, and covariances of rank 19 to 64 in 64 channels: values and gradients to 1e-4."""
    scale = torch.logspace(0.7, -1.5, 64).double()
    features, labels = sample([20, 40, 400], channels=64)
    features = features * scale
    target = shrink(class_statistics(features, labels, 3), "ridge", ridge)
    strangers = (sample([20, 20, 20], channels=64, seed=1)[0] * scale).float()
    images = torch.cat([features[::8].float(), strangers]).requires_grad_()
    found = prepare_metric(target).distances(images)
    exact = images.detach().double().requires_grad_()
    centred = exact[:, None] - target.mean
    expected = torch.einsum("bki,kij,bkj->bk", centred, torch.linalg.inv(target.covariance), centred)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)
    (gradient,) = torch.autograd.grad(found.sum(), images)
    (wanted,) = torch.autograd.grad(expected.sum(), exact)
    assert bool(((gradient - wanted).norm(dim=1) < 1e-4 * wanted.norm(dim=1)).all())


@pytest.mark.parametrize("metric", ["precision", "diagonal"])
@pytest.mark.parametrize("count", [1, 7])
def test_without_a_ridge_a_small_class_is_refused(metric: str, count: int) -> None:
    features, labels = sample([30, count], channels=8)
    features[labels == 1, 0] = 3.0  # No variance at all in one channel.
    target = shrink(class_statistics(features, labels, 2), "ridge", 0.0)
    with pytest.raises(ValueError, match=rf"class 1 \({count} draws, 8 channels\) is not positive definite"):
        prepare_metric(target, metric)  # type: ignore[arg-type]
