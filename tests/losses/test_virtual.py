"""Equation 7: what is drawn has the given mean and covariance, in the given order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lmd.losses import virtual
from lmd.losses.covariance import shrink
from lmd.losses.gaussian import ClassGaussians, class_statistics
from lmd.losses.virtual import Chunk, VirtualFeatures
from tests.losses.test_gaussian import sample


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("method", ["ridge", "oas", "pooled", "diagonal"])
@pytest.mark.parametrize("count", [2, 5, 200])
def test_virtual_features_have_the_given_mean_and_covariance(count: int, method: str) -> None:
    """Also where N_k < C, from rows or from a triangle, and the empirical covariance alone is singular.

    Tolerance: five standard errors.
    """
    features, labels = sample([count, 60], channels=6)
    target = shrink(class_statistics(features, labels, 2), method, 0.01)  # type: ignore[arg-type]
    draws = 200_000
    found = VirtualFeatures(target, torch.float64).draw(Chunk(0, 2 * draws, 1))
    for k in range(2):
        cloud, sigma = found[k::2], target.matrix(k)
        variances = sigma.diagonal()
        assert bool(((cloud.mean(0) - target.mean[k]).abs() < 5 * (variances / draws).sqrt()).all())
        spread = ((sigma.square() + variances[:, None] * variances[None]) / draws).sqrt()
        assert bool(((torch.from_numpy(np.cov(cloud.numpy().T)) - sigma).abs() < 5 * spread).all())


def test_rows_are_drawn_from_where_that_is_cheaper_or_the_only_way() -> None:
    raw = class_statistics(*sample([2, 3, 5, 60], channels=6), 4)
    assert set(VirtualFeatures(shrink(raw, "ridge", 0.01)).roots) == {0}
    singular = replace(raw, spread=raw.spread[:3], mean=raw.mean[:3], floor=raw.floor[:3])
    source = VirtualFeatures(singular, torch.float64)
    assert set(source.roots) == {0, 1, 2}
    cloud = source.draw(Chunk(0, 300, 0))[2::3] - singular.mean[2]
    # Without a floor nothing lies outside the span of the five rows.
    assert torch.linalg.matrix_rank(cloud) == torch.linalg.matrix_rank(singular.spread[2]) < 6


def test_the_root_of_a_small_class_and_its_matrix_have_one_distribution() -> None:
    """The same Gaussian given as a root and as a matrix: drawn differently, equal in the fourth moments too."""
    raw = class_statistics(*sample([2, 60], channels=6), 2)
    root = shrink(raw, "ridge", 0.05)
    full = ClassGaussians(root.mean, tuple(root.covariance), root.counts, torch.zeros_like(root.floor))
    assert len(root.spread[0]) == 2
    moments = []
    for seed, gaussians in enumerate((root, full)):
        cloud = VirtualFeatures(gaussians, torch.float64).draw(Chunk(0, 400_000, seed))[::2]
        direction = torch.linspace(-1, 1, 6).double()
        moments.append((((cloud - root.mean[0]) @ direction) ** 4).mean())
    torch.testing.assert_close(moments[0], moments[1], rtol=0.05, atol=0)


@pytest.mark.parametrize("batch", [7, 20])
def test_classes_come_in_turn_through_batches_and_chunks(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual, "CHUNK", 60)
    mean = torch.arange(12.0).reshape(3, 4)
    none = torch.zeros(0, 4)
    spread = (none, 1e-12 * torch.eye(4), none)
    source = VirtualFeatures(ClassGaussians(mean, spread, torch.tensor([1, 9, 1]), torch.zeros(3, 4)))
    batches = list(source.stream(200, batch, generator(0)))
    assert [len(features) for features in batches] == [batch] * (200 // batch) + [200 % batch] * (
        200 % batch > 0
    )
    torch.testing.assert_close(torch.cat(batches), mean[torch.arange(200) % 3], atol=1e-4, rtol=0)


def test_draws_depend_on_the_generator_alone() -> None:
    source = VirtualFeatures(shrink(class_statistics(*sample([5, 3]), 2)))
    first, again, other = (torch.cat(list(source.stream(50, 8, generator(seed)))) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_no_feature_comes_twice() -> None:
    source = VirtualFeatures(shrink(class_statistics(*sample([5, 3]), 2)))
    features = torch.cat(list(source.stream(300, 8, generator(3))))
    assert len(features.unique(dim=0)) == 300


def test_a_matrix_that_cannot_be_factorised_is_refused() -> None:
    with pytest.raises(ValueError, match="class 0"):
        VirtualFeatures(
            ClassGaussians(torch.zeros(1, 2), (torch.zeros(2, 2),), torch.tensor([9]), torch.zeros(1, 2))
        )
