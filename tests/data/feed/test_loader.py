"""Batches: the images of an order, whole or cut, whichever way they reach the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lmd.data.feed.loader import ImageSet, batches, resident

CPU = torch.device("cpu")


def image_set(count: int = 10) -> ImageSet:
    pixels = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 3, 2, 2).contiguous()
    return ImageSet(pixels, torch.arange(count) % 3, 3)


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 1]), (True, [4, 4])])
def test_batches_hold_the_images_of_the_order(drop_last: bool, sizes: list[int]) -> None:
    order = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5])
    found = list(batches(image_set(), order, 4, CPU, drop_last))
    assert [len(batch.labels) for batch in found] == sizes
    index = torch.cat([batch.index for batch in found])
    assert index.tolist() == order[: sum(sizes)].tolist()
    assert torch.cat([batch.images for batch in found])[:, 0, 0, 0].tolist() == index.tolist()
    assert torch.cat([batch.labels for batch in found]).tolist() == (index % 3).tolist()


def test_without_a_gpu_the_pixels_stay_where_they_are() -> None:
    images = image_set()
    assert resident(images, CPU) is images


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_resident_and_pinned_pixels_give_the_same_batches() -> None:
    device, order = torch.device("cuda", 0), np.array([7, 0, 7, 3, 2])
    there = resident(image_set(), device)
    assert there.pixels.is_cuda
    for near, far in zip(
        batches(there, order, 2, device), batches(image_set(), order, 2, device), strict=True
    ):
        assert near.images.is_cuda
        assert far.images.is_cuda
        assert torch.equal(near.images, far.images)
        assert torch.equal(near.labels, far.labels)
