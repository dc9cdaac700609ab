"""Networks at rest: features and logits of clean images, without gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lmd.data.feed.cuts import cut
from lmd.data.feed.loader import ImageSet, batches, batches_of
from lmd.data.feed.scale import Scale, clean
from lmd.models.encoder import num_features
from lmd.models.network import Network, Output, mode, recalibrate_batch_norm
from lmd.processes.collectives import gather
from lmd.runtime import Runtime

# While training: fixed, because another size may round otherwise, and validation chooses the epoch.
BATCH = 256
CORE_PIXELS = 128 * 64**2


def batch_for(device: torch.device, size: int) -> int:
    """Returns how many images of size x size pixels to answer at once.

    On a CPU every core answers a batch of its own: as many pixels as are quickest, so that many cores need no
    more memory at 224 pixels than at 64.
    """
    return max(8, CORE_PIXELS // size**2) if device.type == "cpu" else BATCH


def clean_batches(
    images: ImageSet,
    rows: np.ndarray,
    size: int,
    runtime: Runtime,
    scale: Scale,
) -> Iterator[Tensor]:
    """Yields the unaugmented images of the given rows, normalised by mean and standard deviation."""
    for batch in batches(images, rows, size, runtime.device):
        yield clean(batch.images, *scale)


def encode(
    network: Network,
    images: ImageSet,
    runtime: Runtime,
    rows: np.ndarray | None = None,
) -> Output:
    """Returns what `encode_here` does, from all processes together.

    They take the batches in turn, so that each batch is that of one process, and each answer, bit by bit.
    """
    chosen = np.arange(len(images.labels)) if rows is None else rows
    turn = np.arange(len(chosen)) // BATCH % runtime.world
    mine = encode_here(network, images, runtime, chosen[turn == runtime.rank])
    if runtime.world == 1:
        return mine
    lengths = np.bincount(turn, minlength=runtime.world).tolist()
    places = torch.from_numpy(np.argsort(np.argsort(turn, kind="stable"))).to(mine.features.device)
    return Output(*(gather(part, lengths)[places] for part in mine))


@torch.inference_mode()
def encode_here(
    network: Network,
    images: ImageSet,
    runtime: Runtime,
    rows: np.ndarray | None = None,
) -> Output:
    """Returns features [N, C] and logits [N, K] of the rows (default: all), in fp32, BatchNorm at rest."""
    chosen = np.arange(len(images.labels)) if rows is None else rows
    features: list[Tensor] = []
    logits: list[Tensor] = []
    with mode(network, training=False):
        for batch in clean_batches(images, chosen, BATCH, runtime, network.scale):
            with runtime.autocast():
                output = network(batch)
            features.append(output.features.float())
            logits.append(output.logits.float())
    if not features:  # Of more processes than batches.
        none = torch.empty(0, num_features(network.encoder), device=runtime.device)
        return Output(none, none.new_empty(0, images.num_classes))
    return Output(torch.cat(features), torch.cat(logits))


def recalibrate(network: Network, images: ImageSet, runtime: Runtime, order: np.ndarray, batch: int) -> None:
    """Re-estimates the encoder's BatchNorm statistics in one pass over the clean training images.

    A last batch that is not full is left out (unless it is the only one), because each batch counts alike.
    """
    parts = [runtime.share(len(part)).of(part) for part in cut(order, batch)]
    with runtime.autocast():
        recalibrate_batch_norm(
            network.encoder,
            (clean(one.images, *network.scale) for one in batches_of(images, parts, runtime.device)),
        )
