"""An upload becomes what the network takes, and a small picture of what was read."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lmd.data.decode.bounds import TooLargeError, at_most
from lmd.data.decode.dicom_marks import is_dicom
from lmd.data.decode.images import decode, resize
from lmd.deployment.serving.memory import as_file
from lmd.deployment.serving.refusals import RefusedError, without_path
from lmd.errors import DataError
from lmd.model_card import Preprocessing
from lmd.reporting.thumbnails import uri_of

SHOWN = 480  # Pixels on a side of the picture that is sent back: a DICOM file is shown by no browser.


@dataclass(frozen=True)
class Decoded:
    """An image as a network takes it, uint8 [3, S, S], and as a small picture, where one is wanted."""

    pixels: Tensor
    picture: str | None


@dataclass(frozen=True)
class Reader:
    """How uploads are read."""

    preprocessing: Preprocessing
    most_pixels: int

    def read(self, data: bytes, number: int, frame: int | None, shown: bool) -> Decoded | RefusedError:
        """Returns an upload decoded, or why it cannot be; a message calls it by its number."""
        if is_dicom(data[:512]) and find_spec("pydicom") is None:
            return RefusedError(415, f"image {number} is DICOM, which this server is not set up to read")
        with as_file(data) as path, at_most(self.most_pixels):
            try:
                return self._decoded(path, frame, shown)
            except TooLargeError as error:
                return RefusedError(413, without_path(error, path, number))
            except DataError as error:
                return RefusedError(422, without_path(error, path, number))

    def _decoded(self, path: Path, frame: int | None, shown: bool) -> Decoded:
        """The same pixels as `decode_small` gives; the picture is made of the same array if it is large."""
        made = self.preprocessing
        image = decode(path, 2 * made.size, frame, made.bits)
        pixels = np.ascontiguousarray(resize(image, made.size, made.crop).transpose(2, 0, 1))
        if not shown:
            return Decoded(torch.from_numpy(pixels), None)
        large = image if max(image.shape) >= SHOWN else decode(path, SHOWN, frame, made.bits)
        return Decoded(torch.from_numpy(pixels), uri_of(large, SHOWN))
