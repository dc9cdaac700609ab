"""What a network looked at: Grad-CAM on its encoder's maps, and the images whose features are nearest.

The map of a place is the gradient of the class's logit times the activation there, summed over channels, its
negative part left out (Draelos and Carin, arXiv 2011.08891). Where an encoder averages its last map, this is
Grad-CAM (Selvaraju et al., ICCV 2017) exactly. On other maps Grad-CAM may light up places that the network
does not use, and this does not.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmd.models.network import Network, mode

LEAST = 4  # Places on a side of a map that shows where something is.


class Maps(NamedTuple):
    """Which maps of an encoder are looked at."""

    module: str
    channels: int
    side: int


def find_maps(network: Network, size: int) -> Maps | str:
    """Returns the last maps of an encoder with at least 4 x 4 places, or why there are none.

    At small image sizes the last map of all may be a single place. Then an earlier one is taken.
    """
    stages: Any = getattr(network.encoder, "feature_info", None)
    if not stages:
        return "this encoder does not say where its maps are"
    found: list[Maps] = []
    for stage in list(stages)[::-1]:
        side = _side(network, stage, size)
        if side is None:
            return "this encoder has no maps of places: its features are tokens or vectors"
        found.append(Maps(stage["module"], stage["num_chs"], side))
        if side >= LEAST:
            return found[-1]
    best = max(found, key=lambda maps: maps.side)
    return best if best.side > 1 else f"at {size} pixels its maps have a single place"


def _side(network: Network, stage: Any, size: int) -> int | None:
    """The places on a side of a stage's maps; None where what comes out is no map."""
    images = torch.zeros(1, 3, size, size, device=next(network.parameters()).device)
    try:
        with torch.no_grad(), mode(network, training=False):
            _, maps = _watched(network, images, stage["module"])
        return min(_channels_first(maps, stage["num_chs"]).shape[2:])
    except (AttributeError, KeyError, ValueError):
        return None


def _watched(network: Network, images: Tensor, module: str) -> tuple[Tensor, Tensor]:
    """The logits of images, and what a module gave on the way."""
    seen: list[Any] = []
    part: nn.Module = network.encoder.get_submodule(module)
    hook = part.register_forward_hook(lambda *given: seen.append(given[-1]))
    try:
        logits = network(images).logits
    finally:
        hook.remove()
    if len(seen) != 1 or not isinstance(seen[0], Tensor):
        raise ValueError(f"{module} gives no maps")
    return logits, cast("Tensor", seen[0])


def _channels_first(maps: Tensor, channels: int) -> Tensor:
    """Maps as [B, C, H, W]; some encoders have their channels last."""
    if maps.ndim != 4:
        raise ValueError("no maps of places")
    if maps.shape[1] == channels:
        return maps
    if maps.shape[3] == channels:
        return maps.permute(0, 3, 1, 2)
    raise ValueError("no maps of places")


def grad_cam(network: Network, images: Tensor, classes: Tensor, maps: Maps) -> np.ndarray:
    """Returns where the logit of a class comes from [B, S, S], 0 to 1; images [B, 3, S, S] are normalised.

    A map without any positive place is zero everywhere: nothing in the image speaks for the class.
    """
    with torch.enable_grad(), mode(network, training=False):
        given = images.detach().clone().requires_grad_()  # Or nothing is recorded in a frozen network.
        logits, seen = _watched(network, given, maps.module)
        (slope,) = torch.autograd.grad(logits.gather(1, classes.view(-1, 1)).sum(), seen)
    shares = _channels_first(slope * seen, maps.channels).detach().float().sum(1, keepdim=True).relu()
    shares = shares / shares.amax((2, 3), keepdim=True).clamp_min(1e-12)
    size = (images.shape[2], images.shape[3])
    large = F.interpolate(shares, size=size, mode="bilinear", align_corners=False)
    return large[:, 0].cpu().numpy()


def nearest(features: np.ndarray, known: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the known images whose features have the smallest angle to each image's, and the cosines.

    Args:
        features: of the images that are asked about [N, C].
        known: of the images that they are compared with [M, C].
        count: how many to return for each, the nearest first: [N, count], at most M.
    """
    cosines = _unit(features) @ _unit(known).T
    places = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return places, np.take_along_axis(cosines, places, axis=1)


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def spread_over_classes(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Returns rows with at most so many of each class, drawn with the seed, in the order of the table."""
    order = np.random.default_rng(seed).permutation(len(labels))
    kept = [order[labels[order] == k][:most] for k in np.unique(labels)]
    return np.sort(np.concatenate(kept)) if kept else np.empty(0, dtype=np.int64)
