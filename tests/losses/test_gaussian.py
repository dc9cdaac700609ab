"""Equations 6-7 and the distances, against numpy, scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis as scipy_mahalanobis
from sklearn.covariance import OAS, LedoitWolf

from lmd.errors import SettingsError
from lmd.losses.gaussian import (
    ClassGaussians,
    class_statistics,
    factorise,
    ledoit_wolf_coefficients,
    mahalanobis,
    pooled_covariance,
    prepare_metric,
    shrink,
    smooth,
    virtual_features,
)


def sample(counts: list[int], channels: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.full((count,), k) for k, count in enumerate(counts)])
    scale = torch.linspace(0.5, 2.0, channels).double()
    features = torch.randn(len(labels), channels, dtype=torch.float64, generator=generator) * scale
    return features + labels[:, None], labels


def slow_statistics(rows: list[list[float]]) -> tuple[list[float], list[list[float]]]:
    """Mean and covariance with n - 1, written as eq. 6 is."""
    n, c = len(rows), len(rows[0])
    mean = [sum(row[a] for row in rows) / n for a in range(c)]
    covariance = [
        [sum((row[a] - mean[a]) * (row[b] - mean[b]) for row in rows) / (n - 1) for b in range(c)]
        for a in range(c)
    ]
    return mean, covariance


def test_equation_6() -> None:
    features, labels = sample([7, 12, 3])
    found = class_statistics(features, labels, 3)
    for k in range(3):
        rows = features[labels == k]
        mean, covariance = slow_statistics(rows.tolist())
        np.testing.assert_allclose(found.mean[k], mean, rtol=1e-12)
        np.testing.assert_allclose(found.covariance[k], covariance, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(found.covariance[k], np.cov(rows.numpy().T), rtol=1e-10, atol=1e-14)
    assert found.counts.tolist() == [7, 12, 3]


def test_weights_count_a_row_as_often_as_it_was_drawn() -> None:
    features, labels = sample([5, 4])
    weights = torch.tensor([1, 3, 2, 1, 1, 4, 1, 1, 2])
    found = class_statistics(features, labels, 2, weights)
    expected = class_statistics(features.repeat_interleave(weights, 0), labels.repeat_interleave(weights), 2)
    for name, value in found.as_dict().items():
        torch.testing.assert_close(value, expected.as_dict()[name])


def test_one_image_and_no_image() -> None:
    features, labels = sample([1, 4])
    found = class_statistics(features, labels, 3)
    assert torch.equal(found.mean[0], features[0])
    assert not found.covariance[0].any()
    assert not found.covariance[2].any()
    assert found.counts.tolist() == [1, 4, 0]
    assert all(bool(torch.isfinite(value).all()) for value in found.as_dict().values())


def test_half_precision_features_are_added_up_in_double() -> None:
    features = (torch.randn(5000, 2, generator=torch.Generator().manual_seed(0)) + 200).bfloat16()
    found = class_statistics(features, torch.zeros(5000, dtype=torch.int64), 1)
    np.testing.assert_allclose(found.covariance[0], np.cov(features.double().numpy().T), rtol=1e-9)


def test_smoothing_is_a_running_mean_and_then_an_average() -> None:
    parts = [class_statistics(*sample([6, 6], seed=seed), 2) for seed in range(4)]
    state = None
    for iteration, part in enumerate(parts):
        state = smooth(state, part, iteration, decay=0.999)
    assert state is not None
    torch.testing.assert_close(state.mean, torch.stack([part.mean for part in parts]).mean(0))
    torch.testing.assert_close(state.covariance, torch.stack([part.covariance for part in parts]).mean(0))
    late = smooth(state, parts[0], 50, decay=0.9)
    torch.testing.assert_close(late.mean, 0.9 * state.mean + 0.1 * parts[0].mean)


def test_an_absent_class_keeps_what_was_known() -> None:
    before = class_statistics(*sample([6, 6]), 2)
    features, labels = sample([6, 6], seed=1)
    now = class_statistics(features[labels == 0], labels[labels == 0], 2)
    after = smooth(before, now, 3, 0.5)
    assert torch.equal(after.mean[1], before.mean[1])
    assert torch.equal(after.covariance[1], before.covariance[1])
    assert after.counts.tolist() == [6, 6]


def test_oas_is_scikit_learns() -> None:
    features, labels = sample([9, 40], channels=6)
    found = shrink(class_statistics(features, labels, 2), "oas", ridge=0.0)
    for k in range(2):
        expected = OAS().fit(features[labels == k].numpy()).covariance_
        np.testing.assert_allclose(found.covariance[k], expected, rtol=1e-9, atol=1e-12)


def test_ledoit_wolf_is_scikit_learns() -> None:
    features, labels = sample([9, 40], channels=6)
    rho = ledoit_wolf_coefficients(features, labels, 2)
    found = shrink(class_statistics(features, labels, 2), "ledoit_wolf", 0.0, rho)
    for k in range(2):
        expected = LedoitWolf().fit(features[labels == k].numpy()).covariance_
        np.testing.assert_allclose(found.covariance[k], expected, rtol=1e-9, atol=1e-12)


def test_pooled_and_diagonal_shrinkage() -> None:
    features, labels = sample([3, 50])
    raw = class_statistics(features, labels, 2)
    pooled = (2 * raw.covariance[0] + 49 * raw.covariance[1]) / 51
    torch.testing.assert_close(pooled_covariance(raw), pooled)
    found = shrink(raw, "pooled", ridge=0.5).covariance[0]
    share = 4 / (4 + 3)
    expected = (1 - share) * raw.covariance[0] + share * pooled + 0.5 * torch.eye(4).double()
    torch.testing.assert_close(found, expected)
    diagonal = shrink(raw, "diagonal", ridge=0.0).covariance[1]
    torch.testing.assert_close(diagonal, torch.diag(raw.covariance[1].diagonal()))


@pytest.mark.parametrize("method", ["ridge", "oas", "pooled", "diagonal"])
def test_every_estimator_can_be_factorised_for_a_class_of_one_image(method: str) -> None:
    features, labels = sample([1, 30], channels=8)
    found = shrink(class_statistics(features, labels, 2), method, 0.01)  # type: ignore[arg-type]
    factors = factorise(found.covariance)
    torch.testing.assert_close(factors @ factors.mT, found.covariance)


def test_what_cannot_be_factorised_is_named() -> None:
    bad = torch.stack([torch.eye(3), torch.zeros(3, 3)])
    with pytest.raises(SettingsError, match=r"class 1 is not positive definite.*ridge"):
        factorise(bad)
    bad[1] = float("nan")
    with pytest.raises(SettingsError, match="class 1"):
        factorise(bad)


@pytest.mark.parametrize("count", [3, 200])
def test_equation_7_virtual_features_have_the_given_mean_and_covariance(count: int) -> None:
    """Also where N_k < C, and the empirical covariance alone is singular. Tolerance: five standard errors."""
    features, labels = sample([count, 60], channels=6)
    target = shrink(class_statistics(features, labels, 2), "ridge", 0.01)
    draws = 200_000
    generator = torch.Generator().manual_seed(1)
    asked = torch.arange(2 * draws) % 2
    found = virtual_features(target.mean, factorise(target.covariance), asked, generator)
    for k in range(2):
        cloud, sigma = found[asked == k], target.covariance[k]
        variances = sigma.diagonal()
        assert bool(((cloud.mean(0) - target.mean[k]).abs() < 5 * (variances / draws).sqrt()).all())
        spread = ((sigma.square() + variances[:, None] * variances[None]) / draws).sqrt()
        assert bool(((torch.from_numpy(np.cov(cloud.numpy().T)) - sigma).abs() < 5 * spread).all())


def test_draws_depend_on_the_generator_alone() -> None:
    target = shrink(class_statistics(*sample([5, 5]), 2))
    factors, labels = factorise(target.covariance), torch.tensor([0, 1, 1, 0])
    first = virtual_features(target.mean, factors, labels, torch.Generator().manual_seed(3))
    again = virtual_features(target.mean, factors, labels, torch.Generator().manual_seed(3))
    other = virtual_features(target.mean, factors, labels, torch.Generator().manual_seed(4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_mahalanobis_is_scipys() -> None:
    features, labels = sample([30, 40])
    target = shrink(class_statistics(features, labels, 2), "ridge", 0.1)
    found = mahalanobis(features[:5], target.mean, factorise(target.covariance))
    for i in range(5):
        for k in range(2):
            inverse = np.linalg.inv(target.covariance[k].numpy())
            expected = scipy_mahalanobis(features[i].numpy(), target.mean[k].numpy(), inverse) ** 2
            assert float(found[i, k]) == pytest.approx(expected, rel=1e-9)


def metric_matrix(metric: str, target: ClassGaussians, k: int) -> np.ndarray:
    sigma = target.covariance[k].numpy()
    return {
        "precision": np.linalg.inv(sigma),
        "covariance_literal": sigma,
        "pooled_precision": np.linalg.inv(pooled_covariance(target).numpy()),
        "diagonal": np.diag(1 / np.diag(sigma)),
        "euclidean": np.eye(len(sigma)),
    }[metric]


@pytest.mark.parametrize(
    "metric", ["precision", "covariance_literal", "pooled_precision", "diagonal", "euclidean"]
)
def test_every_metric_is_its_quadratic_form(metric: str) -> None:
    features, labels = sample([30, 40])
    target = shrink(class_statistics(features, labels, 2), "ridge", 0.1)
    prepared = prepare_metric(target, metric, torch.float64)  # type: ignore[arg-type]
    found = prepared.distances(features[:4])
    for i in range(4):
        for k in range(2):
            centred = (features[i] - target.mean[k]).numpy()
            expected = centred @ metric_matrix(metric, target, k) @ centred
            assert float(found[i, k]) == pytest.approx(expected, rel=1e-9)
    torch.autograd.gradcheck(prepared.distances, features[:3].clone().requires_grad_())


def test_gaussians_survive_a_round_trip() -> None:
    target = class_statistics(*sample([5, 6]), 2)
    back = ClassGaussians.from_dict(target.as_dict()).to(torch.float32)
    assert back.mean.dtype == torch.float32
    assert back.counts.dtype == torch.int64
