"""The statistics of ICC on two processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from lmd.data.feed.loader import ImageSet
from lmd.errors import SettingsError
from lmd.files import load_tree, save_tree
from lmd.losses.gaussian import ClassGaussians
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.network import Network
from lmd.runtime import Runtime, free_memory
from lmd.stages.base import StageContext
from lmd.stages.calibration import memory
from lmd.stages.calibration.memory import check_memory
from lmd.stages.calibration.statistics import stream_statistics
from tests.processes import on_two

# The last class has one image, which one of two processes sees alone; the first has more than channels.
COUNTS = [130, 30, 2, 1]


class OneOfTwo(Runtime):
    """A runtime that takes its place from the process group."""

    @property
    def rank(self) -> int:
        return dist.get_rank() if dist.is_initialized() else 0

    @property
    def world(self) -> int:
        return dist.get_world_size() if dist.is_initialized() else 1


def statistics() -> ClassGaussians:
    random = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.full((count,), k) for k, count in enumerate(COUNTS)])
    pixels = torch.randint(0, 256, (len(labels), 3, 16, 16), dtype=torch.uint8, generator=random)
    torch.manual_seed(0)
    encoder = build_encoder("test_resnet")
    channels = num_features(encoder)
    network = Network(encoder, build_classifier("linear", channels, 4, 0))
    images = ImageSet(pixels, labels, 4)
    context = StageContext(network, images, OneOfTwo(accelerator="cpu"), lambda done, total: None)
    rows = np.random.default_rng(0).permutation(len(labels))
    weights = torch.from_numpy(np.arange(len(labels)) % 3 + 1)
    return stream_statistics(context, channels, rows, weights)


def _worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    save_tree(Path(folder) / f"statistics{rank}", statistics().as_dict())


def test_two_processes_give_the_statistics_of_one(tmp_path: Path) -> None:
    on_two(_worker, str(tmp_path))
    expected = statistics()
    for rank in range(2):
        found = ClassGaussians.from_dict(load_tree(tmp_path / f"statistics{rank}"))
        for name, tensor in expected.as_dict().items():
            assert torch.equal(found.as_dict()[name], tensor), name


@pytest.mark.parametrize(("count", "needed"), [(40, 40 * 24 * 96), (48, (48 * 16 + 96 * 8) * 96)])
def test_half_as_many_images_as_channels_need_a_factor(
    count: int, needed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One class of 96 channels: its rows in double precision twice, and its rows or a matrix in fp32."""
    monkeypatch.setattr(memory, "free_memory", lambda device: needed)
    check_memory(np.array([count]), 96, 1, torch.device("cpu"))
    monkeypatch.setattr(memory, "free_memory", lambda device: needed - 1)
    with pytest.raises(SettingsError, match="1 classes with 96 channels"):
        check_memory(np.array([count]), 96, 1, torch.device("cpu"))


def test_the_free_memory_is_a_sensible_number() -> None:
    free = free_memory(torch.device("cpu"))
    assert free is None or 2**26 < free < 2**45
