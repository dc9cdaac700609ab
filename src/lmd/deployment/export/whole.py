"""All of a model as one module: pixels in, the probabilities that rank and those that decide out."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from lmd.evaluation.probability.decisions import log_prior
from lmd.folds.average import AverageNetwork
from lmd.model_card import ModelCard
from lmd.models.dense import undo_dense
from lmd.models.folding import fold_batch_norm
from lmd.models.network import Network, Output


class Whole(nn.Module):
    """A network at rest with what lies before and behind it: nothing is left to whoever runs it.

    With s the logits, pi the classes' shares of the training images and T the temperature:

        p = softmax(s / T)                      ranks
        d = softmax((s - tau log pi) / T)       decides
    """

    mean: Tensor
    std: Tensor
    shift: Tensor

    def __init__(self, network: Network, card: ModelCard) -> None:
        """Takes a network at rest, and the card that says what its images and its logits are."""
        super().__init__()
        self.network = network
        self.temperature = card.outputs.temperature
        made = card.preprocessing
        for name, values in (("mean", made.mean), ("std", made.std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))
        shift = card.outputs.tau * log_prior(np.array(card.training_counts))
        self.register_buffer("shift", torch.from_numpy(shift).float())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns p and d [N, K] of images, uint8 [N, 3, S, S]."""
        pixels = (images.float() / 255.0 - self.mean) / self.std
        logits = cast("Output", self.network(pixels)).logits.float()
        scaled = logits / self.temperature
        return scaled.softmax(1), ((logits - self.shift) / self.temperature).softmax(1)


class HalfEncoder(nn.Module):
    """An encoder that computes in fp16; its features, and the classifier behind it, stay in fp32."""

    def __init__(self, encoder: nn.Module) -> None:
        """Rounds the weights of the encoder, in place."""
        super().__init__()
        self.encoder = encoder.half()

    def forward(self, images: Tensor) -> Tensor:
        """Returns the features [B, C] of normalised images [B, 3, S, S]."""
        return cast("Tensor", self.encoder(images.half())).float()


def whole(network: Network, card: ModelCard, half: bool = False) -> Whole:
    """Returns a copy of a model as one module at rest, its encoder in fp16 where that is asked for."""
    return Whole(_plain(network, half), card).eval().requires_grad_(False)


def _plain(network: Network, half: bool) -> Network:
    """A copy of a network on the CPU with BatchNorm folded, and with plain convolutions.

    The products that `lmd.models.dense` puts in their place are larger, and other programs have no use of
    them.
    """
    if isinstance(network, AverageNetwork):
        parts = [_plain(cast("Network", part), half) for part in network.networks]
        return AverageNetwork(parts, network.temperatures)
    plain = fold_batch_norm(network).cpu()
    undo_dense(plain.encoder)
    if half:
        plain.encoder = HalfEncoder(plain.encoder)
    return plain
