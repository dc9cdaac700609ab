"""Unlikeness: distances against scipy's, classes of few images, the share of validation images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from lmd.evaluation.novelty import Familiar, familiar, nearest, relative, seen_classes, shared_covariance
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
    covariance += 0.5 * np.trace(covariance) / 6 * np.eye(6)
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


def test_unlike_is_the_share_of_validation_images_that_are_less_unlike() -> None:
    found, rows, _ = gaussians([40, 30])
    known = familiar(found, rows[::2])
    assert known.reference.tolist() == sorted(known.reference.tolist())
    distance = known.distance(rows).float().numpy()
    wanted = [(known.reference.numpy() < one).mean() for one in distance]
    np.testing.assert_allclose(known.unlike(rows), wanted)
    assert known.unlike(torch.full((1, 6), 1e3)).tolist() == [1.0]
    middle = seen_classes(found)[:1]
    assert known.unlike(middle).tolist() == [0.0]


def test_what_is_kept_gives_the_same_answers() -> None:
    found, rows, _ = gaussians([40, 30])
    known = familiar(found, rows[::2])
    kept = Familiar(**known.as_dict())
    assert {value.dtype for value in known.as_dict().values()} == {torch.float32}
    assert kept.unlike(rows).tolist() == known.unlike(rows).tolist()
    assert kept.distance(rows).tolist() == known.distance(rows).tolist()
    ranks = np.sort(known.unlike(rows[::2]))  # Each of the 35 validation images is as unlike as its rank.
    np.testing.assert_allclose(ranks, np.arange(35) / 35)


@pytest.mark.parametrize("counts", [[2, 2], [3, 200]])
def test_fewer_images_than_channels_have_an_inverse(counts: list[int]) -> None:
    rows, labels = features(counts, channels=40)
    known = familiar(class_statistics(rows, labels, 2), rows)
    assert torch.isfinite(known.distance(rows)).all()


def test_a_class_that_was_left_out_is_more_unlike() -> None:
    """On Gaussians whose truth is known: the AUC of the distance is nearly one."""
    rows, labels = features([200, 200, 200], seed=3)
    seen = labels < 2
    known = familiar(class_statistics(rows[seen][::2], labels[seen][::2], 2), rows[seen][1::2])
    out, within = known.unlike(rows[~seen]), known.unlike(rows[seen][1::2])
    assert (out[:, None] > within).mean() > 0.99
