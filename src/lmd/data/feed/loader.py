"""From cached pixels and an order to batches on the device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lmd.data.dataset.manifest import Dataset
from lmd.parallel import streamed
from lmd.runtime import free_memory


@dataclass(frozen=True)
class ImageSet:
    """The images of a split: pixels uint8 [N, 3, S, S], labels int64 [N]."""

    pixels: Tensor
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

    The split's rows are copied into memory: at 64 pixels ten thousand images are 120 MB, and a batch is
    then one gather. `index` counts within the split.
    """
    rows = np.flatnonzero(dataset.table["split"].to_numpy() == split)
    labels = torch.from_numpy(dataset.labels(split))
    return ImageSet(torch.from_numpy(np.ascontiguousarray(pixels[rows])), labels, len(dataset.classes))


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
    """

    def make(part: np.ndarray) -> Batch:
        index = torch.from_numpy(part)
        return Batch(images.pixels[index], images.labels[index], index)

    def send(part: np.ndarray) -> Batch:
        return Batch(*(tensor.pin_memory().to(device, non_blocking=True) for tensor in make(part)))

    if device.type == "cpu":
        return map(make, parts)
    return _resident(images, list(parts)) if images.pixels.is_cuda else streamed(send, parts, window=2)


def _resident(images: ImageSet, parts: list[np.ndarray]) -> Iterator[Batch]:
    """The batches of images on the GPU; the order is sent at once, because each copy waits for the GPU."""
    device = images.pixels.device
    labels = images.labels.to(device)
    order = torch.from_numpy(np.concatenate(parts)).to(device) if parts else labels
    for index in order.split([len(part) for part in parts]):
        yield Batch(images.pixels[index], labels[index], index)
