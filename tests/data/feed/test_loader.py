"""Batches: the images of an order, whole or cut, whichever way they reach the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmd.data.feed.cuts import batch_sizes, cut
from lmd.data.feed.loader import ImageSet, batches, batches_of, resident

CPU = torch.device("cpu")


def image_set(count: int = 10) -> ImageSet:
    pixels = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 3, 2, 2).contiguous()
    return ImageSet(pixels, torch.arange(count) % 3, 3)


ORDER = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5])


@pytest.mark.parametrize(("last", "sizes"), [("keep", [4, 4, 1]), ("drop", [4, 4]), ("even", [3, 3, 3])])
def test_batches_hold_the_images_of_the_order(last: str, sizes: list[int]) -> None:
    images = image_set()
    whole = batches(images, ORDER, 4, CPU)
    found = list(whole if last == "keep" else batches_of(images, cut(ORDER, 4, last), CPU))
    assert [len(batch.labels) for batch in found] == sizes
    index = torch.cat([batch.index for batch in found])
    assert index.tolist() == ORDER[: sum(sizes)].tolist()
    assert torch.cat([batch.images for batch in found])[:, 0, 0, 0].tolist() == index.tolist()
    assert torch.cat([batch.labels for batch in found]).tolist() == (index % 3).tolist()


@given(st.integers(1, 500), st.integers(2, 200))
def test_even_batches_leave_no_image_out_and_none_alone(number: int, batch: int) -> None:
    sizes = batch_sizes(number, batch, "even")
    assert sum(sizes) == number
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= max(batch, 3)
    assert min(sizes) >= min(number, 2)


@given(st.integers(1, 500), st.integers(2, 200))
def test_dropping_keeps_full_batches_alone(number: int, batch: int) -> None:
    assert batch_sizes(number, batch) == ([batch] * (number // batch) or [number])


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
