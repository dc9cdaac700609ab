"""The models of all folds as one: the mean of their probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn

from lmd.errors import CheckpointError
from lmd.evaluation.predict import Model, load_model
from lmd.folds.folder import FoldsRun, cards
from lmd.folds.pooled_card import pooled_card
from lmd.models.network import Network, Output


class AverageNetwork(Network):
    """Several networks that answer together; the softmax of its logits is the mean of their softmaxes."""

    def __init__(self, networks: list[Network]) -> None:
        """Takes networks that normalise their images alike."""
        nn.Module.__init__(self)
        self.scale = networks[0].scale
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Output:
        """Returns the features of all networks side by side, and log(mean of p) of normalised images."""
        outputs = [cast("Output", network(images)) for network in self.networks]
        logs = torch.stack([output.logits.float().log_softmax(1) for output in outputs])
        features = torch.cat([output.features for output in outputs], dim=1)
        return Output(features, torch.logsumexp(logs, dim=0) - math.log(len(outputs)))


@dataclass(frozen=True)
class AverageModel(Model):
    """The models of all folds, used as one: an image is decoded once, and each of them answers it."""

    members: tuple[Model, ...]

    @cached_property
    def at_rest(self) -> Network:
        """Copies of the trained networks, for prediction."""
        return AverageNetwork([member.at_rest for member in self.members])


def load_average(run: FoldsRun) -> AverageModel:
    """Returns the models of a folds run as one that gives the mean of their probabilities.

    Raises:
        CheckpointError: a fold has not finished, or the folds do not fit together.
    """
    found = cards(run)
    members = tuple(load_model(folder) for folder in run.folds.values())
    for name, card in found.items():
        if (card.preprocessing, card.precision) != (members[0].card.preprocessing, members[0].card.precision):
            raise CheckpointError(f"{run.path / name} reads its images otherwise than {run.names[0]}")
    network = AverageNetwork([member.network for member in members])
    return AverageModel(network, pooled_card(found), members[0].runtime, members)
