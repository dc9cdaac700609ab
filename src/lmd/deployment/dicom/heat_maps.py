"""The heat map of an image: where the score of the decided class comes from (Grad-CAM).

It is drawn over the image only where the file says that no text is burnt into its pixels
(BurnedInAnnotation NO). Everywhere else the map stands alone on black: no pixel of the image is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from lmd.data.decode.images import decode, decode_small
from lmd.data.feed.scale import clean
from lmd.deployment.dicom.origin import Origin
from lmd.errors import DataError
from lmd.evaluation.explain import Maps, find_maps, grad_cam
from lmd.evaluation.predict import Model
from lmd.folds.average import AverageModel
from lmd.reporting.thumbnails import tinted

_SIDE = 512  # Pixels of the longer side.


class HeatMap(NamedTuple):
    """A picture uint8 [H, W, 3], what it shows in words, and whether pixels of the image are in it."""

    pixels: np.ndarray
    words: str
    copied: bool


class Looking:
    """A model, or all members of a mean of models, with the maps of its encoders."""

    def __init__(self, model: Model) -> None:
        """Looks for the maps of the encoders.

        Raises:
            DataError: an encoder has no maps of places.
        """
        self.model = model
        self.members: Sequence[Model] = model.members if isinstance(model, AverageModel) else (model,)
        self.maps = [self._maps(member) for member in self.members]

    def _maps(self, member: Model) -> Maps:
        found = find_maps(member.network, member.card.preprocessing.size)
        if isinstance(found, str):
            raise DataError(f"--dicom-heatmap: there are no heat maps of this model: {found}")
        return found

    def at(self, origin: Origin, frame: int | None, name: str) -> HeatMap:
        """Returns the heat map of a class in an image.

        Raises:
            DataError: the image cannot be read.
        """
        made = self.model.card.preprocessing
        seen = decode_small(origin.path, made.size, made.crop, frame, made.bits)
        shares = self._shares(torch.from_numpy(seen[None].copy()), name)
        below = seen.transpose(1, 2, 0) if origin.free_of_text else np.zeros((*shares.shape, 3), np.uint8)
        picture = _unsquashed(tinted(np.ascontiguousarray(below), shares, _SIDE), self._shape(origin, frame))
        return HeatMap(picture, self._words(name, origin), origin.free_of_text)

    def _shares(self, images: torch.Tensor, name: str) -> np.ndarray:
        """The mean map of all members, 0 to 1."""
        made, device = self.model.card.preprocessing, self.model.runtime.device
        given = clean(images.to(device), made.mean, made.std)
        number = torch.tensor([self.model.classes.index(name)], device=device)
        pairs = zip(self.members, self.maps, strict=True)
        return np.mean([grad_cam(one.network, given, number, maps)[0] for one, maps in pairs], axis=0)

    def _shape(self, origin: Origin, frame: int | None) -> tuple[int, int]:
        """Width and height of what the network saw, before it was squashed to a square."""
        made = self.model.card.preprocessing
        if made.crop == "center":
            return _SIDE, _SIDE
        height, width = decode(origin.path, 2 * made.size, frame, made.bits).shape[:2]
        longer = max(height, width)
        return max(1, round(_SIDE * width / longer)), max(1, round(_SIDE * height / longer))

    def _words(self, name: str, origin: Origin) -> str:
        part = "the middle square of the image" if self.model.card.preprocessing.crop == "center" else "it"
        over = "over the image in grey" if origin.free_of_text else "without pixels of the image"
        return (
            f"Grad-CAM of {name}, {over}: bright places speak for the class. The network saw {part} at "
            f"{self.model.card.preprocessing.size} pixels."
        )


def _unsquashed(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize(shape, Image.Resampling.BILINEAR))
