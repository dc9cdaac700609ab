"""Shrinkage, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.covariance import OAS, LedoitWolf

from lmd.losses.covariance import factorise, ledoit_wolf_coefficients, pooled_covariance, shrink
from lmd.losses.gaussian import ClassGaussians, class_statistics
from tests.losses.test_gaussian import sample


def test_oas_is_scikit_learns() -> None:
    features, labels = sample([4, 40], channels=6)
    found = shrink(class_statistics(features, labels, 2), "oas", ridge=0.0)
    for k in range(2):
        expected = OAS().fit(features[labels == k].numpy()).covariance_
        np.testing.assert_allclose(found.covariance[k], expected, rtol=1e-9, atol=1e-12)


def test_ledoit_wolf_is_scikit_learns() -> None:
    features, labels = sample([4, 40], channels=6)
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
    for k in range(2):
        factor = factorise(found, k)
        torch.testing.assert_close(factor @ factor.T, found.matrix(k))


def test_shrinkage_toward_the_identity_leaves_small_classes_their_roots() -> None:
    raw = class_statistics(*sample([3, 50], channels=8), 2)
    for method in ("ridge", "oas"):
        assert len(shrink(raw, method).spread[0]) == 3  # type: ignore[arg-type]
    assert len(shrink(raw, "diagonal").spread[1]) == 0


@pytest.mark.parametrize("bad", [0.0, float("nan")])
def test_what_cannot_be_factorised_is_named(bad: float) -> None:
    spread = (torch.eye(3), bad * torch.eye(3))
    gaussians = ClassGaussians(torch.zeros(2, 3), spread, torch.tensor([9, 1]), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"class 1 \(1 draws, 3 channels\) is not positive definite"):
        factorise(gaussians, 1)
