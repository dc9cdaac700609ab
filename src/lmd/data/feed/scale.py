"""From pixels to what an encoder is given: normalised by the mean and standard deviation of its own."""

from __future__ import annotations

import functools

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

Channels = tuple[float, float, float]
Scale = tuple[Channels, Channels]  # Mean and standard deviation.
# ImageNet's channel statistics, with which most encoders were trained.
MEAN: Channels = (0.485, 0.456, 0.406)
STD: Channels = (0.229, 0.224, 0.225)
IMAGENET: Scale = (MEAN, STD)


def normalise(
    images: Float[Tensor, "batch 3 height width"], mean: Channels = MEAN, std: Channels = STD
) -> Float[Tensor, "batch 3 height width"]:
    """Returns (x - mean) / std per channel, for x in [0, 1]."""
    centred = images - _channels(mean, images.device, images.dtype)
    return centred.div_(_channels(std, images.device, images.dtype))


@functools.lru_cache(maxsize=32)
def _channels(values: Channels, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A number for each channel [1, 3, 1, 1]; made once: a CUDA graph cannot copy it to its device."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device, dtype=dtype).view(1, 3, 1, 1)


def clean(
    images: UInt8[Tensor, "batch 3 height width"], mean: Channels = MEAN, std: Channels = STD
) -> Float[Tensor, "batch 3 height width"]:
    """The image as it is, normalised."""
    return normalise(images.float().div_(255.0), mean, std)
