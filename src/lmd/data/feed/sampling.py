"""Orders in which images are seen: pure functions of (seed, epoch, rank)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np

from lmd.errors import DataError, SettingsError, suggest
from lmd.runtime import derive_seed

Sampling = Literal[
    "instance", "balanced", "square_root", "effective_number", "cben", "progressive", "class_aware"
]


def sampled_prior(kind: Sampling) -> Literal["training", "unknown"]:
    """Returns the frequency of classes that plain cross entropy learns under a rule of sampling.

    Class-balanced images would make it uniform, if the network knew the images of a rare class no better
    than others. It has seen each of them many times. On new images what it implies lies between the two
    (measured with class weights, docs/probabilities.md), so that validation has to tell.

    >>> [sampled_prior(kind) for kind in ("instance", "class_aware", "square_root")]
    ['training', 'unknown', 'unknown']
    """
    return "training" if kind == "instance" else "unknown"


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

    Kang et al., ICLR 2020, their first equation with q = 0. As many draws as images unless
    `num_draws` says otherwise.
    """
    generator = _generator("balanced", seed, epoch)
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    by_class = np.argsort(inverse, kind="stable")
    starts = np.cumsum(counts) - counts
    draws = len(labels) if num_draws is None else num_draws
    drawn = generator.integers(len(classes), size=draws)
    within = (generator.random(draws) * counts[drawn]).astype(np.int64)
    return _shard(by_class[starts[drawn] + within], rank, world)


def sampling_order(
    kind: Sampling,
    labels: np.ndarray,
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
    progress: float = 0.0,
) -> np.ndarray:
    """Returns the rows of an epoch under a rule of sampling; `progress` in [0, 1] is how far training is.

    - instance: each image once. - balanced: each class alike, with replacement.
    - square_root: p_k = sqrt(n_k) / sum sqrt(n_i) (Kang et al., ICLR 2020).
    - effective_number: p_k proportional to n_k (1 - b) / (1 - b^n_k), b = 0.9999 (Cao et al., NeurIPS 2019).
    - cben: the same with a b_k of each class, 0.9999 for the largest to 0.99991 (Li et al., CVPR 2022).
    - progressive: (1 - t) p_instance + t p_balanced, t = `progress` (Kang et al.).
    - class_aware: classes in turn, no image of a class twice until all were seen (Shen et al., ECCV 2016).
    """
    if kind == "instance":
        return instance_order(len(labels), seed, epoch, rank, world)
    if kind == "balanced":
        return balanced_order(labels, seed, epoch, rank, world)
    if kind == "class_aware":
        return _shard(_class_aware(labels, _generator(kind, seed, epoch)), rank, world)
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    shares = class_shares(kind, counts, progress)
    per_image = (shares / counts)[inverse]
    drawn = _generator(kind, seed, epoch).choice(len(labels), len(labels), p=per_image / per_image.sum())
    return _shard(drawn, rank, world)


class OrderSampler:
    """The orders of this module as the `sampler` of a torch DataLoader, for labels of any kind.

        sampler = OrderSampler(labels, kind="balanced", seed=0)
        loader = DataLoader(images, batch_size=32, sampler=sampler)
        for epoch in range(10):
            sampler.set_epoch(epoch)  # Without it every epoch has the same order.
            for batch in loader: ...

    An order depends on (labels, kind, seed, epoch) alone. Workers of the loader do not change it.

    >>> sampler = OrderSampler(["a", "a", "a", "b"], kind="class_aware")
    >>> len(sampler), list(sampler).count(3)  # The one image of class b is half of the epoch.
    (4, 2)
    """

    def __init__(
        self, labels: Any, kind: Sampling = "balanced", seed: int = 0, *,
        epochs: int = 1, rank: int = 0, world: int = 1,
    ) -> None:  # fmt: skip
        """Keeps the labels.

        Args:
            labels: the class of each image, a sequence of length N: numbers, texts, or a tensor on the CPU.
            kind: the rule of sampling; see `sampling_order`.
            seed: the seed of every draw.
            epochs: the length of the training; for "progressive", which moves from its first to its last.
            rank: the number of this process, from 0.
            world: the number of processes; each takes its share of one order.

        Raises:
            SettingsError: there is no such rule.
            DataError: the labels are none, or no plain sequence.
        """
        if kind not in get_args(Sampling):
            raise SettingsError(f"unknown sampling '{kind}'{suggest(kind, get_args(Sampling))}")
        self.labels = np.asarray(labels)
        if self.labels.ndim != 1 or len(self.labels) == 0:
            raise DataError(f"a sampler needs one label for each image, found shape {self.labels.shape}")
        self.kind, self.seed, self.epochs = kind, seed, epochs
        self.rank, self.world = rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch comes next, from 0."""
        self.epoch = epoch

    def order(self) -> np.ndarray:
        """Returns the rows of the present epoch."""
        progress = min(1.0, self.epoch / max(self.epochs - 1, 1))
        return sampling_order(self.kind, self.labels, self.seed, self.epoch, self.rank, self.world, progress)

    def __iter__(self) -> Iterator[int]:
        """Yields the rows of the present epoch."""
        return iter(self.order().tolist())

    def __len__(self) -> int:
        """The draws of an epoch: as many as images, divided among the processes."""
        return -(-len(self.labels) // self.world)


def class_shares(kind: Sampling, counts: np.ndarray, progress: float = 0.0) -> np.ndarray:
    """Returns the probability p_k of each class under a rule of sampling with replacement.

    >>> class_shares("square_root", np.array([9, 1])).tolist()
    [0.75, 0.25]
    """
    if kind == "progressive":
        return (1 - progress) * counts / counts.sum() + progress / len(counts)
    if kind == "square_root":
        weight = np.sqrt(counts)
    elif kind == "effective_number":
        weight = counts * effective_weights(counts)
    elif kind == "cben":
        rarity = np.log(counts.max() / counts)
        beta = 0.9999 + 1e-5 * rarity / max(rarity.max(), 1e-12)
        weight = counts * (1 - beta) / -np.expm1(counts * np.log(beta))
    else:
        weight = np.ones(len(counts)) if kind in ("balanced", "class_aware") else counts
    return weight / weight.sum()


def effective_weights(counts: np.ndarray, beta: float = 0.9999) -> np.ndarray:
    """Returns (1 - beta) / (1 - beta^n_k) for each class, scaled to a mean of 1 (Cui et al., CVPR 2019).

    >>> effective_weights(np.array([5, 5])).tolist()
    [1.0, 1.0]
    """
    weights = (1 - beta) / -np.expm1(np.maximum(counts, 1) * np.log(beta))
    return weights * len(counts) / weights.sum()


def _class_aware(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """As many rows as images, the classes in turn in a new shuffle of each round."""
    classes = np.unique(labels)
    rounds = -(-len(labels) // len(classes))
    streams = []
    for label in classes:
        rows = np.flatnonzero(labels == label)
        cycles = -(-rounds // len(rows))
        streams.append(np.concatenate([generator.permutation(rows) for _ in range(cycles)])[:rounds])
    table = np.stack(streams, axis=1)
    return generator.permuted(table, axis=1).reshape(-1)[: len(labels)]


def _generator(kind: str, seed: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng(derive_seed(kind, seed, epoch))


def _shard(order: np.ndarray, rank: int, world: int) -> np.ndarray:
    return np.resize(order, len(order) + -len(order) % world)[rank::world].astype(np.int64)
