"""The mean and covariance of each class, estimated in one pass and averaged over iterations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class ClassGaussians:
    """One Gaussian for each class: mu_k [K, C], Sigma_k, and the draws behind them [K].

    Sigma_k = spread_k + diag(floor_k). A spread of fewer than C rows is a root X with X^T X in its place:
    n centred features determine a covariance of rank n, in n C numbers instead of C^2. A spread of C rows
    is the matrix itself. `floor` [K, C] is what shrinkage adds to the diagonal.
    """

    mean: Tensor
    spread: tuple[Tensor, ...]
    counts: Tensor
    floor: Tensor

    @property
    def covariance(self) -> Float[Tensor, "classes channels channels"]:
        """All Sigma_k as matrices: K C^2 numbers, for small problems and for tests."""
        return torch.stack([self.matrix(k) for k in range(len(self.spread))])

    def matrix(self, label: int) -> Float[Tensor, "channels channels"]:
        """Returns Sigma_k of one class as a matrix."""
        return dense(self.spread[label]) + torch.diag(self.floor[label])

    def as_dict(self) -> dict[str, Tensor]:
        """Returns plain tensors by name: the spreads one below the other, `rows` says how many of each."""
        rows = torch.tensor([len(spread) for spread in self.spread])
        spread = torch.cat(self.spread)
        return {"mean": self.mean, "spread": spread, "rows": rows, "counts": self.counts, "floor": self.floor}

    @classmethod
    def from_dict(cls, tensors: dict[str, Tensor]) -> ClassGaussians:
        """Returns the Gaussians that `as_dict` gave."""
        spread = tensors["spread"].split(tensors["rows"].tolist())
        return cls(tensors["mean"], tuple(spread), tensors["counts"], tensors["floor"])

    def to(self, *arguments: Any) -> ClassGaussians:
        """Returns the Gaussians on another device or in another precision; counts stay whole numbers."""
        mean = self.mean.to(*arguments)
        spread = tuple(part.to(*arguments) for part in self.spread)
        return ClassGaussians(mean, spread, self.counts.to(mean.device), self.floor.to(*arguments))


def dense(spread: Float[Tensor, "rows channels"]) -> Float[Tensor, "channels channels"]:
    """Returns the matrix that a spread stands for."""
    return spread if len(spread) >= spread.shape[1] else spread.T @ spread


def combine(weights: Sequence[float], spreads: Sequence[Tensor]) -> Float[Tensor, "rows channels"]:
    """The weighted sum of covariances given as spreads; a root as long as fewer than C rows carry it.

    >>> combine([1.0, 4.0], [torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0]])])
    tensor([[1., 0., 0.],
            [0., 2., 0.]])
    """
    channels = spreads[0].shape[1]
    used = [(w, spread) for w, spread in zip(weights, spreads, strict=True) if w > 0 and len(spread)]
    if not used:
        return spreads[0].new_zeros((0, channels))
    if sum(len(spread) for _, spread in used) < channels:
        return torch.cat([w**0.5 * spread for w, spread in used])
    total = spreads[0].new_zeros((channels, channels))
    for w, spread in used:
        if len(spread) < channels:
            total.addmm_(spread.T, spread, alpha=w)
        else:
            total.add_(spread, alpha=w)
    return total


class _Part(NamedTuple):
    """Some images of one class: their number, mean [C], and scatter sum_i w_i (z_i - mean)(z_i - mean)^T."""

    total: float
    mean: Tensor
    scatter: Tensor


def _merge(parts: Sequence[_Part]) -> _Part:
    """The statistics of all images from those of their parts (Chan, Golub, LeVeque 1983).

    Nothing large is subtracted from something large: the scatter between the parts is that of their means.
    """
    if len(parts) == 1:
        return parts[0]
    total = sum(part.total for part in parts)
    mean = torch.stack([part.mean * (part.total / max(total, 1.0)) for part in parts]).sum(0)
    between = [(part.mean - mean)[None] for part in parts]
    weights = [1.0] * len(parts) + [part.total for part in parts]
    return _Part(total, mean, combine(weights, [*(part.scatter for part in parts), *between]))


class ClassMoments:
    """Number, mean and scatter of each class, added up batch by batch in double precision.

    The rows of a class are kept until there are C of them and are then folded into its C x C scatter:
    the memory is at most K C (C + batch) numbers however many images pass, and a class with fewer images
    than channels keeps the exact root of its covariance.
    """

    def __init__(self, num_classes: int, channels: int, device: Any = "cpu") -> None:
        """Starts with no image of any class."""
        self.channels = channels
        self.zero = torch.zeros(channels, dtype=torch.float64, device=device)
        self.waiting: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(num_classes)]
        self.folded: list[_Part | None] = [None] * num_classes

    def add(
        self,
        features: Float[Tensor, "images channels"],
        labels: Int[Tensor, " images"],
        weights: Tensor | None = None,
    ) -> None:
        """Adds some images; `weights` says how often each counts.

        Raises:
            ValueError: a feature is not finite.
        """
        if not bool(torch.isfinite(features).all()):
            broken = int((~torch.isfinite(features).all(1)).sum())
            raise ValueError(f"the features of {broken} of {len(features)} images are not finite")
        weight = torch.ones_like(labels) if weights is None else weights
        order = labels.argsort(stable=True)
        sizes = labels.bincount(minlength=len(self.folded)).tolist()
        parts = zip(features[order].split(sizes), weight[order].split(sizes), strict=True)
        for k, (rows, times) in enumerate(parts):
            if len(rows):
                self.waiting[k].append((rows, times))
                if sum(len(some) for some, _ in self.waiting[k]) >= self.channels:
                    self._fold(k)

    def _fold(self, label: int) -> None:
        if not self.waiting[label]:
            return
        rows, times = (torch.cat(part).double() for part in zip(*self.waiting[label], strict=True))
        total = float(times.sum())
        mean = (times @ rows) / total
        root = (rows - mean) * times.sqrt()[:, None]
        scatter = root.T @ root if len(root) >= self.channels else root
        before = self.folded[label]
        new = _Part(total, mean, scatter)
        self.folded[label] = new if before is None else _merge([before, new])
        self.waiting[label] = []

    def gaussians(self) -> ClassGaussians:
        """Returns the mean and the unbiased covariance of what was added (see `class_statistics`)."""
        for k in range(len(self.folded)):
            self._fold(k)
        empty = _Part(0.0, self.zero, self.zero.new_zeros((0, self.channels)))
        return _normalise([empty if part is None else part for part in self.folded])


def _normalise(parts: Sequence[_Part]) -> ClassGaussians:
    mean = torch.stack([part.mean for part in parts])
    spread = tuple(combine([1.0 / max(part.total - 1.0, 1.0)], [part.scatter]) for part in parts)
    counts = torch.tensor([round(part.total) for part in parts], device=mean.device)
    return ClassGaussians(mean, spread, counts, torch.zeros_like(mean))


@torch.no_grad()
def class_statistics(
    features: Float[Tensor, "images channels"],
    labels: Int[Tensor, " images"],
    num_classes: int,
    weights: Tensor | None = None,
) -> ClassGaussians:
    """Estimates mean and unbiased covariance of each class (eq. 6), in double precision.

        mu_k = (1/n_k) sum_i w_i z_i,   n_k = sum_i w_i
        Sigma_k = (1/(n_k - 1)) sum_i w_i (z_i - mu_k)(z_i - mu_k)^T

    `weights` says how often each row counts, as if it were repeated. A class with one draw has covariance
    0; an absent class has mean, covariance and count 0, and `smooth` then keeps what was known of it.

    >>> found = class_statistics(torch.tensor([[0.0], [2.0], [5.0]]), torch.tensor([0, 0, 1]), 2)
    >>> found.mean.flatten().tolist(), found.covariance.flatten().tolist()
    ([1.0, 5.0], [2.0, 0.0])
    """
    moments = ClassMoments(num_classes, features.shape[1], features.device)
    moments.add(features, labels, weights)
    return moments.gaussians()


def merge_statistics(parts: Sequence[ClassGaussians]) -> ClassGaussians:
    """Returns the statistics of all images from those of disjoint shares of them, such as W processes'."""
    counts = [part.counts.tolist() for part in parts]
    merged: list[_Part] = []
    for k in range(len(parts[0].spread)):
        shares: list[_Part] = []
        for part, count in zip(parts, counts, strict=True):
            scatter = combine([max(count[k] - 1.0, 0.0)], [part.spread[k]])
            shares.append(_Part(float(count[k]), part.mean[k], scatter))
        merged.append(_merge(shares))
    return _normalise(merged)


def smooth(
    previous: ClassGaussians | None, current: ClassGaussians, iteration: int, decay: float
) -> ClassGaussians:
    """Averages the statistics over iterations: S <- a S + (1 - a) S_now, a = min(1 - 1/(j+1), decay).

    Section 3.4.2 of the paper; j = `iteration` counts from 0, where a = 0 copies. Until a reaches `decay`
    this is the plain mean of all iterations. A class absent now keeps its previous statistics, and one that
    was absent before takes those of now. The roots of small classes are stacked, and become matrices when
    they have grown to C rows.
    """
    if previous is None or iteration == 0:
        return current
    decay = min(1.0 - 1.0 / (iteration + 1), decay)
    absent, new = current.counts == 0, previous.counts == 0
    keep = torch.where(absent, 1.0, torch.where(new, 0.0, decay)).to(current.mean)[:, None]
    spread = tuple(
        combine([k, 1 - k], [old, now])
        for k, old, now in zip(keep.flatten().tolist(), previous.spread, current.spread, strict=True)
    )
    return ClassGaussians(
        keep * previous.mean + (1 - keep) * current.mean,
        spread,
        torch.where(absent, previous.counts, current.counts),
        keep * previous.floor + (1 - keep) * current.floor,
    )
