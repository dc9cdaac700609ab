"""What a network says of many images: read, answered in batches, on all cores or beside a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from lmd.data.decode.images import decode_small
from lmd.data.feed.mapped import MappedPixels
from lmd.data.feed.scale import clean
from lmd.errors import DataError
from lmd.model_card import ModelCard, Preprocessing
from lmd.models.inference import batch_for
from lmd.models.network import Network, Output
from lmd.parallel import num_cores, one_core_each, streamed
from lmd.runtime import Runtime


class Answering(Protocol):
    """What answers: a network at rest with all that prediction needs."""

    @property
    def card(self) -> ModelCard:
        """How images become its input."""
        ...

    @property
    def runtime(self) -> Runtime:
        """Where it runs."""
        ...

    @property
    def at_rest(self) -> Network:
        """The network for prediction."""
        ...


def logits_of(model: Answering, pixels: torch.Tensor | MappedPixels) -> np.ndarray:
    """Returns the logits [N, K] of images, uint8 [N, 3, S, S]."""
    return joined([output.logits for output in outputs_of(model, pixels)])


def outputs_of(model: Answering, pixels: torch.Tensor | MappedPixels) -> Generator[Output, None, None]:
    """Yields features and logits of images, uint8 [N, 3, S, S], batch by batch in their order."""
    rows = in_batches(range(len(pixels)), model)
    with closing(answered(model, lambda part: Images(pixels[part[0] : part[-1] + 1]), rows)) as parts:
        for _, output in parts:
            yield output


class Images(NamedTuple):
    """Some images, uint8 [B, 3, S, S]; the files that they are from, and the files that could not be read."""

    pixels: torch.Tensor
    used: Sequence[str] = ()
    bad: Mapping[str, str] = {}


def read_images(
    preprocessing: Preprocessing, frame: int | None, skip_bad: bool, paths: Sequence[Path]
) -> Images:
    """Reads some files; without `skip_bad` the first that cannot be read ends it."""
    size, crop = preprocessing.size, preprocessing.crop
    pixels: list[np.ndarray] = [np.empty((0, 3, size, size), np.uint8)]
    used: list[str] = []
    bad: dict[str, str] = {}
    for path in paths:
        try:
            pixels.append(decode_small(path, size, crop, frame, preprocessing.bits)[None])
            used.append(str(path))
        except DataError as error:
            if not skip_bad:
                raise
            bad[str(path)] = str(error)
    return Images(torch.from_numpy(np.concatenate(pixels)), used, bad)


def in_batches(items: Sequence[Any], model: Answering) -> list[Sequence[Any]]:
    """Returns the items in batches: as large as is quickest, and no fewer than can be worked on at once."""
    quickest = batch_for(model.runtime.device, model.card.preprocessing.size)
    size = max(1, min(quickest, math.ceil(len(items) / num_cores())))
    return [items[start : start + size] for start in range(0, len(items), size)]


def answered(
    model: Answering, read: Callable[[Any], Images], batches: list[Sequence[Any]]
) -> Generator[tuple[Images, Output], None, None]:
    """Yields the images that `read` makes of each batch, and what the network says of them.

    On a CPU every core reads a batch and then answers it, so that decoding and network overlap. On a GPU
    threads read while it answers.
    """
    network = model.at_rest  # Made here, before several threads ask for it.
    if model.runtime.device.type != "cpu":
        for images in streamed(read, batches, window=2):
            yield images, output_of(network, images.pixels, model)
        return

    def work(batch: Sequence[Any]) -> tuple[Images, Output]:
        images = read(batch)
        return images, output_of(network, images.pixels, model)

    # Copies of the caller's thread. A small tensor that is kept among the large ones of a working thread
    # would keep its neighbourhood from being used again: 4 to 10 KB an image.
    with closing(one_core_each(work, batches)) as parts:
        for images, output in parts:
            yield images, Output(*(part.clone() for part in output))


@torch.inference_mode()
def output_of(network: nn.Module, pixels: torch.Tensor, model: Answering) -> Output:
    """Returns what a network says of images, uint8 [B, 3, S, S], in fp32; they are prepared as of `model`."""
    scale = model.card.preprocessing
    images = clean(pixels.to(model.runtime.device), scale.mean, scale.std)
    with model.runtime.autocast():
        output = network(images)
    return Output(output.features.float(), output.logits.float())


def joined(logits: list[torch.Tensor]) -> np.ndarray:
    """Returns the logits of all batches [N, K]."""
    return torch.cat(logits).double().cpu().numpy()
