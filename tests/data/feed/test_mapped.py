"""Images that stay on the disk give the batches, and the weights, of those in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lmd import methods
from lmd.data.decode.cache import open_cache
from lmd.data.feed import loader
from lmd.data.feed.loader import batches, image_set
from lmd.data.feed.mapped import MappedPixels
from lmd.evaluation.predict import load_model, predict_split
from lmd.training.start import train
from tests import toy

CPU = torch.device("cpu")


def test_rows_are_those_of_the_array() -> None:
    array = np.arange(7 * 12, dtype=np.uint8).reshape(7, 3, 2, 2)
    pixels = MappedPixels(array, np.array([1, 3, 6, 2]))
    whole = torch.from_numpy(array[[1, 3, 6, 2]])
    assert (pixels.shape, len(pixels), pixels.nbytes) == (whole.shape, 4, whole.nbytes)
    assert torch.equal(pixels[torch.tensor([3, 0])], whole[[3, 0]])
    assert torch.equal(pixels[1:3], whole[1:3])
    assert torch.equal(pixels.to(CPU), whole)
    pixels[:].zero_()
    assert torch.equal(pixels[:], whole)


def test_a_large_split_stays_on_the_disk_and_a_training_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = toy.make_dataset(tmp_path)
    pixels = open_cache(dataset, 16)
    near = image_set(dataset, "train", pixels)
    settings = methods.settings_of("ce", recipe={**toy.COMMON, "stage1": {"epochs": 2}})
    first = train(dataset, "ce", settings, tmp_path / "near")
    told = predict_split(load_model(first), dataset, "test")
    monkeypatch.setattr(loader, "free_memory", lambda device: 8 * near.pixels.nbytes - 1)
    far = image_set(dataset, "train", pixels)
    assert isinstance(near.pixels, torch.Tensor)
    assert isinstance(far.pixels, MappedPixels)
    order = np.random.default_rng(0).permutation(len(near.labels))
    for one, other in zip(batches(near, order, 10, CPU), batches(far, order, 10, CPU), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    second = train(dataset, "ce", settings, tmp_path / "far")
    assert first.weights.read_bytes() == second.weights.read_bytes()
    monkeypatch.setattr(loader, "free_memory", lambda device: 0)
    assert predict_split(load_model(first), dataset, "test").equals(told)
