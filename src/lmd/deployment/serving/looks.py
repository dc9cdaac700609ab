"""Where an answer comes from, and what the network takes for alike: the pictures beside an answer."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lmd.data.feed.scale import clean
from lmd.deployment.serving.decoding import SHOWN, Decoded
from lmd.deployment.serving.neighbours import NOT_YET, Known
from lmd.deployment.serving.schema import Explanation, Near
from lmd.evaluation.explain import Maps, find_maps, grad_cam
from lmd.evaluation.predict import Model
from lmd.folds.average import AverageNetwork
from lmd.models.network import Network
from lmd.reporting.pictures import map_words
from lmd.reporting.thumbnails import tinted, uri_of


@dataclass(frozen=True)
class Looks:
    """What a model's answers are explained with."""

    model: Model
    known: Future[Known | str]

    @cached_property
    def networks(self) -> list[Network]:
        """The network, or all whose mean answers."""
        own = self.model.network
        several = list(own.networks) if isinstance(own, AverageNetwork) else [own]
        return [one for one in several if isinstance(one, Network)]

    @cached_property
    def maps(self) -> Maps | str:
        """Which maps of the network are looked at, or why there are none."""
        return find_maps(self.networks[0], self.model.card.preprocessing.size)

    @property
    def map_words(self) -> str:
        """What the maps are, in words."""
        mean = len(self.networks) > 1 and isinstance(self.maps, Maps)
        return map_words(self.maps) + (f" It is the mean over {len(self.networks)} models." if mean else "")

    @property
    def nearest_words(self) -> str:
        """What the nearest images are, or why there are none."""
        found = self.known.result() if self.known.done() else NOT_YET
        if isinstance(found, str):
            return found
        return (
            f"the nearest of {len(found.files):,} training images, by the cosine of the angle between the "
            "features; 1 is alike"
        )

    def heat(self, pixels: Tensor, k: int) -> np.ndarray | None:
        """Returns the map of a class [S, S]; for the network's own thread, as hooks are set meanwhile."""
        maps, scale, device = self.maps, self.model.card.preprocessing, self.model.runtime.device
        if isinstance(maps, str):
            return None
        image, wanted = (
            clean(pixels[None].to(device), scale.mean, scale.std),
            torch.tensor([k], device=device),
        )
        found = [grad_cam(network, image, wanted, maps)[0] for network in self.networks]
        return np.mean(found, axis=0)

    def explanation(self, image: Decoded, heat: np.ndarray | None, features: Tensor) -> Explanation:
        """Returns the pictures beside an answer."""
        shares = None if heat is None else tinted(image.pixels.permute(1, 2, 0).numpy(), heat, SHOWN // 2)
        return Explanation(
            picture=image.picture or "",
            map=None if shares is None else uri_of(shares, SHOWN // 2),
            nearest=self._near(features.numpy()),
            notes=[self.map_words, self.nearest_words],
        )

    def _near(self, features: np.ndarray) -> list[Near]:
        found = self.known.result() if self.known.done() else NOT_YET
        return [] if isinstance(found, str) else found.near(features)
