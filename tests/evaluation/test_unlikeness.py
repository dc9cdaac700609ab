"""Unlikeness: distances against scipy's, classes of few images, the share of validation images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from lmd.evaluation.selective.unlikeness import (
    Unlikeness,
    directions,
    nearest,
    relative,
    seen_classes,
    shared_covariance,
    unlikeness_from,
)
from lmd.losses.gaussian import ClassGaussians, class_statistics


def features(counts: list[int], channels: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    means = random.normal(0, 3, (len(counts), channels))
    rows = means[labels] + random.normal(size=(len(labels), channels))
    return torch.from_numpy(rows), torch.from_numpy(labels)


def gaussians(counts: list[int]) -> tuple[ClassGaussians, torch.Tensor, torch.Tensor]:
    rows, labels = features(counts)
    return class_statistics(rows, labels, len(counts)), rows, labels


def test_the_distance_is_mahalanobis_to_the_nearest_class() -> None:
    found, rows, labels = gaussians([30, 20, 10])
    covariance = np.mean([np.cov(rows[labels == k].numpy().T) for k in range(3)], axis=0)
    covariance += 5 * np.trace(covariance) / 6 * np.eye(6)
    means = np.stack([rows[labels == k].numpy().mean(0) for k in range(3)])
    new = np.random.default_rng(1).normal(0, 4, (50, 6))
    wanted = cdist(new, means, "mahalanobis", VI=np.linalg.inv(covariance)).min(1) ** 2
    mine = nearest(torch.from_numpy(new), seen_classes(found), shared_covariance(found))
    np.testing.assert_allclose(mine.numpy(), wanted, rtol=1e-9)


def test_the_relative_distance_takes_off_that_to_all_classes_together() -> None:
    """With classes of one size the one Gaussian is that of all images, up to the n - 1 of a class."""
    rows, labels = features([500, 500, 500], channels=3)
    found = class_statistics(rows, labels, 3)
    everything = np.cov(rows.numpy().T)
    inside = np.mean([np.cov(rows[labels == k].numpy().T) for k in range(3)], axis=0)
    new = np.random.default_rng(2).normal(0, 4, (40, 3))
    means = np.stack([rows[labels == k].numpy().mean(0) for k in range(3)])
    own = cdist(new, means, "mahalanobis", VI=np.linalg.inv(inside)).min(1) ** 2
    of_all = cdist(new, rows.numpy().mean(0)[None], "mahalanobis", VI=np.linalg.inv(everything))[:, 0] ** 2
    mine = relative(torch.from_numpy(new), found, ridge=0.0)
    np.testing.assert_allclose(mine.numpy(), own - of_all, rtol=0.02, atol=0.1)


def test_classes_of_one_image_and_of_none_do_no_harm() -> None:
    found, rows, labels = gaussians([20, 1, 0, 15])
    assert len(seen_classes(found)) == 3
    inside = np.mean([np.cov(rows[labels == k].numpy().T) for k in (0, 3)], axis=0)
    np.testing.assert_allclose(shared_covariance(found, 0.0).numpy(), inside)
    # One image of each class: nothing is known of how images vary, and all directions count the same.
    alone = class_statistics(torch.eye(3), torch.arange(3), 3)
    new = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    far = nearest(new, seen_classes(alone), shared_covariance(alone))
    assert far.tolist() == [0.0, 4.0]


def of_directions(rows: torch.Tensor, labels: torch.Tensor) -> ClassGaussians:
    return class_statistics(directions(rows), labels, int(labels.max()) + 1)


def test_unlike_is_the_rank_of_a_rare_direction_and_a_rare_length() -> None:
    """Both p-values count validation images that are at least as extreme; Fisher's sum of logarithms ranks."""
    rows, labels = features([40, 30])
    val = rows[::2]
    known = unlikeness_from(of_directions(rows, labels), val)
    size = np.linalg.norm(rows.numpy(), axis=1)
    unit = rows.numpy() / size[:, None]
    inside = np.mean([np.cov(unit[labels.numpy() == k].T) for k in range(2)], axis=0)
    inside += 5 * np.trace(inside) / 6 * np.eye(6)
    means = np.stack([unit[labels.numpy() == k].mean(0) for k in range(2)])
    far = cdist(unit, means, "mahalanobis", VI=np.linalg.inv(inside)).min(1) ** 2
    np.testing.assert_allclose(known.distance(rows), far, rtol=1e-4)
    rarer = (
        ((far[::2] >= far[:, None] - 1e-6).sum(1) + 1)
        / 36
        * ((size[::2] <= size[:, None] + 1e-6).sum(1) + 1)
        / 36
    )
    np.testing.assert_allclose(known.score(rows), -np.log(rarer), rtol=1e-5)
    wanted = [(-np.log(rarer[::2]) < one - 1e-5).mean() for one in -np.log(rarer)]
    np.testing.assert_allclose(known.unlike(rows), wanted)


def test_images_of_another_kind_are_unlike_whether_far_or_short() -> None:
    rows, labels = features([60, 60], seed=1)
    known = unlikeness_from(of_directions(rows, labels), rows[::2])
    means = torch.stack([rows[labels == k].mean(0) for k in range(2)])
    assert (known.unlike(means) < 0.9).all()
    assert known.unlike(-means).min() > 0.9  # The other way.
    assert known.unlike(1e-3 * means).min() > 0.85  # Hardly any feature at all.
    assert known.unlike(torch.zeros(1, 6)).tolist() == [1.0]


def test_what_is_kept_gives_the_same_answers() -> None:
    rows, labels = features([40, 30])
    known = unlikeness_from(of_directions(rows, labels), rows[::2])
    kept = Unlikeness(**known.as_dict())
    assert {value.dtype for value in known.as_dict().values()} == {torch.float32}
    assert kept.unlike(rows).tolist() == known.unlike(rows).tolist()
    # Of the validation images themselves a hundredth is more unlike than 99%.
    assert (known.unlike(rows[::2]) >= 0.99).sum() <= 1


@pytest.mark.parametrize("counts", [[2, 2], [3, 200]])
def test_fewer_images_than_channels_have_an_inverse(counts: list[int]) -> None:
    rows, labels = features(counts, channels=40)
    known = unlikeness_from(class_statistics(rows, labels, 2), rows)
    assert torch.isfinite(known.distance(rows)).all()


def test_a_class_that_was_left_out_is_more_unlike() -> None:
    """On Gaussians whose truth is known: the AUC is nearly one."""
    rows, labels = features([200, 200, 200], seed=3)
    seen = labels < 2
    known = unlikeness_from(of_directions(rows[seen][::2], labels[seen][::2]), rows[seen][1::2])
    out, within = known.unlike(rows[~seen]), known.unlike(rows[seen][1::2])
    assert (out[:, None] > within).mean() > 0.95
