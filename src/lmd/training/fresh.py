"""The network that a run begins with."""

from __future__ import annotations

import torch

from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.freezing import freeze
from lmd.models.names import normalisation
from lmd.models.network import Network
from lmd.runtime import derive_seed
from lmd.settings import CommonSettings


def new_network(settings: CommonSettings, num_classes: int, *, fresh: bool) -> Network:
    """Returns a new network, drawn from the seed; one that a checkpoint will fill needs no weights."""
    torch.manual_seed(derive_seed(settings.seed, "encoder"))
    encoder = build_encoder(
        settings.encoder,
        size=settings.size,
        pretrained=settings.pretrained and fresh,
        weights=settings.weights if fresh else None,
        partial_weights=settings.partial_weights,
    )
    freeze(encoder, settings.freeze)
    classifier = build_classifier(
        "linear", num_features(encoder), num_classes, derive_seed(settings.seed, "classifier")
    )
    return Network(encoder, classifier, normalisation(settings.encoder), settings.flips)
