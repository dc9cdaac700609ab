"""Images that stay on the disk: rows of a memory-mapped array, read when a batch asks for them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_CPU = torch.device("cpu")
_AT_ONCE = 2**27  # Bytes on their way to a GPU.


class MappedPixels:
    """The chosen rows of an array, uint8 [M, 3, S, S], with what a tensor has that batches are made of.

    What was read stays in the system's own cache of files: it is given back where memory is short.
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray) -> None:
        """Reads nothing."""
        self.array, self.rows = array, rows
        self.device = _CPU

    @property
    def shape(self) -> torch.Size:
        """The number of images, and the shape of one."""
        return torch.Size((len(self.rows), *self.array.shape[1:]))

    @property
    def nbytes(self) -> int:
        """The bytes of all images."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.rows)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """Returns a copy of some images."""
        chosen = self.rows[index if isinstance(index, slice) else index.numpy()]
        return torch.from_numpy(np.ascontiguousarray(self.array[chosen]))

    def to(self, device: torch.device) -> Tensor:
        """Returns all images on a device; few of them are in main memory on the way."""
        whole = torch.empty(self.shape, dtype=torch.uint8, device=device)
        step = max(1, _AT_ONCE // max(1, self.nbytes // max(1, len(self))))
        for start in range(0, len(self), step):
            whole[start : start + step] = self[start : start + step]
        return whole
