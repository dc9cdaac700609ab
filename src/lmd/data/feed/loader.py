"""From cached pixels and an order to batches on the device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lmd.data.dataset.manifest import Dataset
from lmd.data.feed.mapped import MappedPixels
from lmd.parallel import streamed
from lmd.runtime import free_memory

_SHARE = 1 / 8  # Of the free memory: training and validation together take no more than a quarter.


@dataclass(frozen=True)
class ImageSet:
    """The images of a split: pixels uint8 [N, 3, S, S], in memory or on the disk, labels int64 [N]."""

    pixels: Tensor | MappedPixels
    labels: Tensor
    num_classes: int

    @property
    def counts(self) -> np.ndarray:
        """The number of images of each class."""
        return np.bincount(self.labels.numpy(), minlength=self.num_classes)


class Batch(NamedTuple):
    """Some images [B, 3, S, S] with labels [B], and their rows in the ImageSet [B]."""

    images: Tensor
    labels: Tensor
    index: Tensor


def image_set(dataset: Dataset, split: str, pixels: np.ndarray) -> ImageSet:
    """Returns a split of a data set whose decoded pixels are in table order.

    The split's rows are copied into memory where they are few: at 64 pixels ten thousand images are 120 MB,
    and a batch is then one gather. Otherwise they stay on the disk, and each batch reads its own. The batches
    are the same. `index` counts within the split.
    """
    rows = np.flatnonzero(dataset.table["split"].to_numpy() == split)
    labels = torch.from_numpy(dataset.labels(split))
    return ImageSet(_held(MappedPixels(pixels, rows)), labels, len(dataset.classes))


def _held(there: MappedPixels) -> Tensor | MappedPixels:
    """Images in memory where they take a small share of what is free, else on the disk."""
    free = free_memory(torch.device("cpu"))
    return there if free is not None and there.nbytes > free * _SHARE else there[:]


def resident(images: ImageSet, device: torch.device) -> ImageSet:
    """Returns the set with its pixels on the GPU where a third of the free memory there holds them."""
    free = free_memory(device)
    if device.type != "cuda" or free is None or images.pixels.nbytes > free / 3:
        return images
    return replace(images, pixels=images.pixels.to(device))


def batches(images: ImageSet, order: np.ndarray, batch_size: int, device: torch.device) -> Iterator[Batch]:
    """Yields all images of an order in batches; the last one may be smaller."""
    return batches_of(images, (order[i : i + batch_size] for i in range(0, len(order), batch_size)), device)


def batches_of(images: ImageSet, parts: Iterable[np.ndarray], device: torch.device) -> Iterator[Batch]:
    """Yields a batch for each part of an order.

    Pixels that are not on the GPU are gathered, pinned and sent by threads, two batches ahead of their use.
    So are those that have to be read from the disk.
    """

    def make(part: np.ndarray) -> Batch:
        index = torch.from_numpy(part)
        return Batch(images.pixels[index], images.labels[index], index)

    def send(part: np.ndarray) -> Batch:
        return Batch(*(tensor.pin_memory().to(device, non_blocking=True) for tensor in make(part)))

    there = images.pixels.device.type == device.type and isinstance(images.pixels, Tensor)
    if device.type == "cpu":
        return map(make, parts) if there else streamed(make, parts, window=2)
    return _resident(images, list(parts)) if there else streamed(send, parts, window=2)


def _resident(images: ImageSet, parts: list[np.ndarray]) -> Iterator[Batch]:
    """The batches of images on the GPU; the order is sent at once, because each copy waits for the GPU."""
    if not parts:
        return
    device = images.pixels.device
    labels, order = images.labels.to(device), torch.from_numpy(np.concatenate(parts)).to(device)
    for index in order.split([len(part) for part in parts]):
        yield Batch(images.pixels[index], labels[index], index)
