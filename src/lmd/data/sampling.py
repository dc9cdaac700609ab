"""Orders in which images are seen: pure functions of (seed, epoch, rank)."""

from __future__ import annotations

import numpy as np

from lmd.runtime import derive_seed


def instance_order(num_images: int, seed: int, epoch: int, rank: int = 0, world: int = 1) -> np.ndarray:
    """Returns a permutation of the images (instance-balanced sampling), this process's share of it.

    The order over all processes is a function of (seed, epoch) alone; process r takes every W-th entry
    from r on. Where W does not divide the number of images, the first ones are seen once more.
    """
    order = _generator("instance", seed, epoch).permutation(num_images)
    return _shard(order, rank, world)


def balanced_order(
    labels: np.ndarray, seed: int, epoch: int, rank: int = 0, world: int = 1, num_draws: int | None = None
) -> np.ndarray:
    """Returns draws with replacement in which each class has probability 1/K (class-balanced sampling).

        p(i) = 1 / (K n_{y_i}),   K = classes present in `labels`

    Kang et al., ICLR 2020, eq. 1 with q = 0. As many draws as images unless `num_draws` says otherwise.
    """
    generator = _generator("balanced", seed, epoch)
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    by_class = np.argsort(inverse, kind="stable")
    starts = np.cumsum(counts) - counts
    draws = len(labels) if num_draws is None else num_draws
    drawn = generator.integers(len(classes), size=draws)
    within = (generator.random(draws) * counts[drawn]).astype(np.int64)
    return _shard(by_class[starts[drawn] + within], rank, world)


def _generator(kind: str, seed: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng(derive_seed(kind, seed, epoch))


def _shard(order: np.ndarray, rank: int, world: int) -> np.ndarray:
    return np.resize(order, len(order) + -len(order) % world)[rank::world].astype(np.int64)
