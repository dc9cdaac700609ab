"""Where an encoder's weights come from: a file, a package, or the hub that timm names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmd.models import hub, packages
from lmd.models.files import read_tensors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Given:
    """Tensors by name, and what a message calls them."""

    title: str
    tensors: dict[str, Tensor]


def obtain(name: str, pretrained: bool, weights: str | None) -> Given | None:
    """Returns the weights for an encoder of that name; None where there are to be none.

    Raises:
        SettingsError: the package is unknown, or holds another encoder.
        CheckpointError: the file, the package or the download cannot be had or read.
    """
    if weights is None:
        return (
            Given(f"weights of '{name}' from the hub", read_tensors(hub.download(name)))
            if pretrained
            else None
        )
    if weights.startswith(packages.PREFIX):
        return Given(f"weights {weights}", packages.read(weights, name))
    return Given(f"weights {weights}", read_tensors(packages.weights_path(weights)))
