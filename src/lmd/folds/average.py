"""The models of all folds as one: the mean of their probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """Several networks that answer together: the mean of their probabilities, softmax(s_i / T_i).

    softmax(s / T) of its logits s is that mean, where T is the mean of the temperatures.
    """

    def __init__(self, networks: list[Network], temperatures: Sequence[float] | None = None) -> None:
        """Takes networks that normalise their images alike, and their temperatures (1)."""
        nn.Module.__init__(self)
        self.scale = networks[0].scale
        self.networks = nn.ModuleList(networks)
        self.temperatures = [1.0] * len(networks) if temperatures is None else list(temperatures)
        self.temperature = sum(self.temperatures) / len(networks)

    def forward(self, images: Tensor) -> Output:
        """Returns the features of all networks side by side, and T log(mean of p) of normalised images."""
        return self.together([cast("Output", network(images)) for network in self.networks])

    def together(self, outputs: Sequence[Output]) -> Output:
        """Returns what `forward` does, from what each network says of the images."""
        features = torch.cat([output.features for output in outputs], dim=1)
        mean = torch.logsumexp(self._logs(outputs), dim=0) - math.log(len(outputs))
        return Output(features, self.temperature * mean)

    def probabilities(self, outputs: Sequence[Output]) -> Tensor:
        """Returns the probabilities of each network [M, B, K], from what each says of the images."""
        return self._logs(outputs).exp()

    def _logs(self, outputs: Sequence[Output]) -> Tensor:
        scaled = [output.logits.float() / t for output, t in zip(outputs, self.temperatures, strict=True)]
        return torch.stack([logits.log_softmax(1) for logits in scaled])


@dataclass(frozen=True)
class AverageModel(Model):
    """The models of all folds, used as one: an image is decoded once, and each of them answers it."""

    members: tuple[Model, ...]

    @cached_property
    def at_rest(self) -> Network:
        """Copies of the trained networks, for prediction."""
        return AverageNetwork([member.at_rest for member in self.members], _temperatures(self.members))


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
    network = AverageNetwork([member.network for member in members], _temperatures(members))
    return AverageModel(network, pooled_card(found), members[0].runtime, members)


def _temperatures(members: Sequence[Model]) -> list[float]:
    return [member.card.outputs.temperature for member in members]
