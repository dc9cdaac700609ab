"""The statistics of ICC's iterations: one streaming pass over the features, on any number of processes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lmd.errors import SettingsError
from lmd.losses.gaussian import ClassGaussians, ClassMoments, merge_statistics
from lmd.losses.virtual import cheaper_from_rows
from lmd.models.inference import BATCH, encode
from lmd.runtime import free_memory, gather
from lmd.stages.base import StageContext

# Images encoded between two updates of the statistics: the features of this many are held at a time.
CHUNK = 8 * BATCH


def stream_statistics(
    context: StageContext, channels: int, rows: np.ndarray, weights: Tensor | None
) -> ClassGaussians:
    """Returns the class statistics of the rows' features, each encoded once and kept no longer than needed.

    Process r encodes every W-th row from r on; the result is that of all rows, on each process.
    """
    runtime = context.runtime
    moments = ClassMoments(context.train.num_classes, channels, runtime.device)
    mine = np.arange(runtime.rank, len(rows), runtime.world)
    for start in range(0, len(mine), CHUNK):
        some = mine[start : start + CHUNK]
        features, labels = encode_rows(context, rows[some])
        moments.add(features, labels, None if weights is None else weights[torch.from_numpy(some)])
    return gather_statistics(moments.gaussians())


def encode_rows(context: StageContext, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Returns the features [N, C] and labels [N] of some training images, usable outside inference mode."""
    features = encode(context.network, context.train, context.runtime, rows).features.clone()
    return features, context.train.labels[torch.from_numpy(rows)].to(features.device)


def gather_statistics(local: ClassGaussians) -> ClassGaussians:
    """Returns the statistics of all processes' images from those of each process's own."""
    tensors = local.as_dict()
    tensors["rows"] = tensors["rows"].to(local.mean.device)
    lengths = gather(tensors["rows"].sum()[None]).tolist()
    if len(lengths) == 1:
        return local
    missing = max(lengths) - len(tensors["spread"])
    tensors["spread"] = F.pad(tensors["spread"], (0, 0, 0, missing))
    shared = {name: gather(tensor[None]) for name, tensor in tensors.items()}
    parts = [{name: tensor[w] for name, tensor in shared.items()} for w in range(len(lengths))]
    for part, length in zip(parts, lengths, strict=True):
        part["spread"] = part["spread"][:length]
    return merge_statistics([ClassGaussians.from_dict(part) for part in parts])


def check_memory(
    counts: np.ndarray, channels: int, iterations: int, device: torch.device, matrices: str | None = None
) -> None:
    """Refuses what would not fit: up to K matrices of C x C, in double precision and as fp32 factors.

    The root of a small class has N_k rows, and N_k more for each of the `iterations` that are averaged; with
    C / 2 rows and more it is factorised (`VirtualFeatures`). `matrices` names the setting, if there is one,
    that makes a full matrix of every class.

    Raises:
        SettingsError: with the memory needed, the memory there is, and the way out.
    """
    rows = np.minimum(counts * max(iterations, 1), channels)
    factored = ~cheaper_from_rows(rows, channels) | (matrices is not None)
    needed = float(8 * np.where(factored, channels, rows).sum() + 16 * rows.sum()) * channels
    free = free_memory(device)
    if free is not None and needed > free:
        raise SettingsError(
            f"stage 2 needs about {needed / 1e9:.3g} GB for the covariances of {len(counts)} classes with "
            f"{channels} channels, {free / 1e9:.3g} GB are free: {_way_out(matrices)}, so that "
            "small classes keep small covariances, or take an encoder with fewer channels"
        )


def _way_out(matrices: str | None) -> str:
    return "set 'stage2.stats_decay' to 0" if matrices is None else f"choose another '{matrices}'"
