"""Networks at rest: features and logits of clean images, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from lmd.data.augment import clean
from lmd.data.loader import ImageSet, batches
from lmd.models.network import Network, Output, mode, recalibrate_batch_norm
from lmd.runtime import Runtime

# While training: fixed, because another size may round otherwise, and validation chooses the epoch.
BATCH = 256


def batch_for(device: torch.device) -> int:
    """Returns how many images to answer at once: on a CPU so few that its caches hold a layer's results."""
    return 64 if device.type == "cpu" else BATCH


def clean_batches(images: ImageSet, rows: np.ndarray, size: int, runtime: Runtime) -> Iterator[Tensor]:
    """Yields the normalised, unaugmented images of the given rows."""
    for batch in batches(images, rows, size, runtime.device):
        yield clean(batch.images)


def outputs(network: Network, batches: Iterable[Tensor], runtime: Runtime) -> Iterator[Output]:
    """Yields features and logits of batches of normalised images, in fp32, BatchNorm at rest."""
    with mode(network, training=False):
        for batch in batches:
            with torch.inference_mode(), runtime.autocast():
                features, logits = network(batch)
                output = Output(features.float(), logits.float())
            yield output


@torch.inference_mode()
def encode(
    network: Network,
    images: ImageSet,
    runtime: Runtime,
    rows: np.ndarray | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Output:
    """Returns features [N, C] and logits [N, K] of the rows (default: all), in fp32, BatchNorm at rest."""
    chosen = np.arange(len(images.labels)) if rows is None else rows
    found: list[Output] = []
    for output in outputs(network, clean_batches(images, chosen, BATCH, runtime), runtime):
        found.append(output)
        progress(sum(len(part.logits) for part in found), len(chosen))
    return Output(torch.cat([part.features for part in found]), torch.cat([part.logits for part in found]))


def recalibrate(network: Network, images: ImageSet, runtime: Runtime, order: np.ndarray, batch: int) -> None:
    """Re-estimates the encoder's BatchNorm statistics in one pass over the clean training images.

    A last batch that is not full is left out (unless it is the only one), because each batch counts alike.
    """
    usable = len(order) // batch * batch or len(order)
    with runtime.autocast():
        recalibrate_batch_norm(network.encoder, clean_batches(images, order[:usable], batch, runtime))
