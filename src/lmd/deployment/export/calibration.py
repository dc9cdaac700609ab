"""The images from which the quantiser takes the ranges of activations; needs the extra `export`."""

from __future__ import annotations

import numpy as np
from onnxruntime.quantization import CalibrationDataReader
from torch import Tensor

_BATCH = 16


class Reader(CalibrationDataReader):
    """Gives images, uint8 [N, 3, S, S], batch by batch."""

    def __init__(self, pixels: Tensor) -> None:
        """Begins with the first."""
        self.parts = iter(pixels.split(_BATCH))

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        """Returns the next batch; None after the last."""
        part = next(self.parts, None)
        return None if part is None else {"images": part.numpy()}
