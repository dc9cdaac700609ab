"""Encoder and classifier as one network, and what BatchNorm needs around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # torch has no public name for what they share.

from lmd.data.feed.scale import IMAGENET, Scale
from lmd.models.freezing import is_frozen

Flips = Literal["none", "horizontal", "both"]
# The axes of an image that are mirrored, one by one, for each of them.
_MIRRORED: Mapping[Flips, tuple[tuple[int, ...], ...]] = MappingProxyType(
    {"none": ((),), "horizontal": ((), (3,)), "both": ((), (3,), (2,), (2, 3))}
)


class Output(NamedTuple):
    """What a network says of a batch: features z [B, C] and logits s [B, K]."""

    features: Tensor
    logits: Tensor


class Network(nn.Module):
    """The network f . g: an encoder g followed by a classifier f."""

    def __init__(
        self, encoder: nn.Module, classifier: nn.Module, scale: Scale = IMAGENET, flips: Flips = "none"
    ) -> None:
        """Joins the two parts.

        Args:
            encoder: g.
            classifier: f.
            scale: mean and standard deviation by which its images are normalised.
            flips: the mirror images over which features are averaged at rest.
        """
        super().__init__()
        self.scale, self.flips = scale, flips
        self.encoder = encoder
        self.classifier = classifier

    def forward(self, images: Tensor) -> Output:
        """Returns features and logits of normalised images [B, 3, H, W].

        At rest the features are the mean over mirror images M of x, z = (1/|M|) sum_m g(m(x)): whatever is
        made of features, such as class statistics, is then made of the same as an answer.
        """
        features = self._encode(images) if self.training else self._at_rest(images)
        return Output(features, self.classifier(features))

    def _encode(self, images: Tensor) -> Tensor:
        return self.encoder(images.contiguous(memory_format=torch.channels_last))

    def _at_rest(self, images: Tensor) -> Tensor:
        _, *others = _MIRRORED[self.flips]
        features = self._encode(images)
        for axes in others:
            features = features + self._encode(images.flip(axes))
        return features / (1 + len(others)) if others else features


@contextmanager
def mode(module: nn.Module, training: bool) -> Iterator[None]:
    """Puts a module into training or evaluation mode for a while, each part back as it was after."""
    before = [(part, part.training) for part in module.modules()]
    module.train(training)
    try:
        yield
    finally:
        for part, was in before:
            part.training = was


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """Returns the BatchNorm layers that keep running statistics, frozen ones excepted."""
    found = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    return [part for part in found if not is_frozen(part)]


@contextmanager
def encoder_training(network: Network, batch_norm: str) -> Iterator[None]:
    """Trains the encoder through a classifier that is frozen, but differentiable, for a while.

    With `batch_norm` "frozen", BatchNorm keeps its running statistics and uses them.
    """
    network.classifier.requires_grad_(False)
    network.train()
    if batch_norm == "frozen":
        for layer in batch_norms(network):
            layer.eval()
    try:
        yield
    finally:
        network.classifier.requires_grad_(True)


@torch.no_grad()
def recalibrate_batch_norm(encoder: nn.Module, batches: Iterable[Tensor]) -> None:
    """Re-estimates BatchNorm's running mean and variance on the given batches, weights untouched.

    The statistics become the plain average over the batches (momentum None in torch's terms). An
    encoder that was trained on augmented images carries their statistics, not those of the clean
    images it will be asked about (docs/paper.md, row 13). Without BatchNorm, or with a frozen one, nothing
    changes.
    """
    layers = batch_norms(encoder)
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    with mode(encoder, training=True):
        for images in batches:
            encoder(images.contiguous(memory_format=torch.channels_last))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
