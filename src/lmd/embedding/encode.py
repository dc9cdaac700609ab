"""One pass of an encoder over the pixels of a data set."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from lmd.data.feed.scale import clean
from lmd.model_card import Preprocessing
from lmd.models.classifier import LinearClassifier
from lmd.models.encoder import num_features
from lmd.models.folding import at_rest
from lmd.models.inference import batch_for
from lmd.models.network import Network
from lmd.parallel import Steps, one_core_each, quiet
from lmd.runtime import Runtime, make_deterministic


@torch.inference_mode()
def encode_images(
    encoder: nn.Module, pixels: np.ndarray, made: Preprocessing, precision: str, progress: Steps = quiet
) -> np.ndarray:
    """Returns the features, fp32 [N, C], of images, uint8 [N, 3, S, S], in their order.

    It computes what prediction computes, batch by batch: besides the features themselves a few batches are
    in memory, however many images there are.
    """
    make_deterministic()
    runtime, channels = Runtime(precision), num_features(encoder)
    network = Network(encoder, LinearClassifier(channels, 2, seed=0), (made.mean, made.std))
    rest = at_rest(network.to(runtime.device), runtime.precision)
    step = batch_for(runtime.device, made.size)

    @torch.inference_mode()
    def work(start: int) -> np.ndarray:
        images = torch.from_numpy(np.array(pixels[start : start + step]))  # Mapped ones are read-only.
        with runtime.autocast():
            return rest(clean(images.to(runtime.device), made.mean, made.std)).features.float().cpu().numpy()

    values = np.empty((len(pixels), channels), dtype=np.float32)
    starts = range(0, len(pixels), step)
    on_cpu = runtime.device.type == "cpu"
    parts: Iterable[np.ndarray] = one_core_each(work, starts) if on_cpu else map(work, starts)
    for start, part in zip(starts, parts, strict=True):
        values[start : start + len(part)] = part
        progress(start + len(part), len(pixels))
    return values
