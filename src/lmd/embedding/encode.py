"""One pass of an encoder over the pixels of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from lmd.evaluation.outputs import Images, answered, in_batches
from lmd.model_card import Preprocessing
from lmd.models.classifier import LinearClassifier
from lmd.models.encoder import num_features
from lmd.models.folding import at_rest
from lmd.models.network import Network
from lmd.parallel import Steps, quiet
from lmd.runtime import Runtime, make_deterministic


class _Card(NamedTuple):
    """What a model's card says of its images: an encoder without a classifier has no more."""

    preprocessing: Preprocessing


@dataclass(frozen=True)
class _Encoding:
    """An encoder that answers as a trained model does."""

    network: Network
    card: Any
    runtime: Runtime

    @cached_property
    def at_rest(self) -> Network:
        """The network for prediction."""
        return at_rest(self.network, self.runtime.precision)


def encode_images(
    encoder: nn.Module, pixels: np.ndarray, made: Preprocessing, precision: str, progress: Steps = quiet
) -> np.ndarray:
    """Returns the features, fp32 [N, C], of images, uint8 [N, 3, S, S], in their order.

    It computes what prediction computes. Besides the features themselves a few batches are in memory, however
    many images there are.
    """
    make_deterministic()
    runtime, channels = Runtime(precision), num_features(encoder)
    network = Network(encoder, LinearClassifier(channels, 2, seed=0), (made.mean, made.std), made.flips)
    model = _Encoding(network.to(runtime.device), _Card(made), runtime)
    values, done = np.empty((len(pixels), channels), dtype=np.float32), 0

    def read(rows: Sequence[int]) -> Images:
        return Images(torch.from_numpy(np.array(pixels[rows[0] : rows[-1] + 1])))  # Mapped: read-only.

    with closing(answered(model, read, in_batches(range(len(pixels)), model))) as parts:
        for _, output in parts:
            values[done : done + len(output.features)] = output.features.cpu().numpy()
            done += len(output.features)
            progress(done, len(pixels))
    return values
