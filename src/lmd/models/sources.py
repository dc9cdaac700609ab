"""Where an encoder's weights come from: a file, a package, a run, or the hub that timm names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmd.models import hub, packages
from lmd.models.files import read_tensors
from lmd.models.own_run import encoder_of, own_run

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Given:
    """Tensors by name, and what a message calls them."""

    title: str
    tensors: dict[str, Tensor]


def at_hand(name: str, pretrained: bool, weights: str | None) -> bool:
    """Returns whether `obtain` needs no download; no network is asked.

    Raises:
        SettingsError: timm does not know the name.
        CheckpointError: timm has no weights of that name that lmd loads.
    """
    return weights is not None or not pretrained or hub.is_cached(name)


def obtain(name: str, pretrained: bool, weights: str | None) -> Given | None:
    """Returns the weights for an encoder of that name; None where there are to be none.

    Raises:
        SettingsError: the package is unknown, or the package or the run holds another encoder.
        CheckpointError: the file, the package, the run or the download cannot be had or read.
    """
    if weights is None:
        return (
            Given(f"weights of '{name}' from the hub", read_tensors(hub.download(name)))
            if pretrained
            else None
        )
    own = own_run(weights)
    if own is not None:
        return Given(f"weights of the run {weights}", encoder_of(own, name))
    if weights.startswith(packages.PREFIX):
        return Given(f"weights {weights}", packages.read(weights, name))
    return Given(f"weights {weights}", read_tensors(packages.weights_path(weights)))
