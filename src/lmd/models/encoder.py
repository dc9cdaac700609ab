"""Encoders: any timm name at any size that it can take, with weights from elsewhere or drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from lmd.errors import SettingsError
from lmd.models.names import create, native_size, outline
from lmd.models.sources import obtain
from lmd.models.weights import fit, load_weights

if TYPE_CHECKING:
    from torch import Tensor, nn

# Their gradients on channels-last images destroy the process's memory at 224 pixels (CPU, torch 2.15).
_NOT_CHANNELS_LAST = ("timm.models.fastvit",)

# Looked through for a size that an encoder can take, where it cannot take the one that was asked for.
_USUAL_SIZES = (32, 56, 64, 70, 96, 112, 128, 160, 192, 224, 240, 256, 288, 320, 384, 448, 512)


def build_encoder(
    name: str,
    *,
    size: int | None = None,
    pretrained: bool = False,
    weights: str | None = None,
    partial_weights: bool = False,
) -> nn.Module:
    """Returns an encoder g: images [B, 3, S, S] -> features [B, C], C = `num_features(encoder)`.

    It computes what timm's computes, on a CPU faster where its maps become small (`make_dense`). Whether it
    can take images of that size, `check_encoder` says.

    Args:
        name: a name that timm knows, such as "resnet18"; a tag chooses the download: "resnet18.a1_in1k".
        size: the side S of the images in pixels (None: what timm's configuration says).
        pretrained: download timm's weights; ignored where `weights` names some.
        weights: a safetensors file with the tensors of such an encoder, "package:NAME", or a run's folder; a
            classifier in it is left out.
        partial_weights: accept weights that lack tensors; they keep their initial values and are listed.

    Raises:
        SettingsError: timm does not know the name.
        CheckpointError: the weights cannot be had, or do not fit.
    """
    from lmd.models.dense import make_dense

    given = obtain(name, pretrained, weights)
    encoder = create(name, size)
    if given is not None:
        load_weights(encoder, name, given, partial=partial_weights)
    make_dense(encoder)
    if type(encoder).__module__ in _NOT_CHANNELS_LAST:
        encoder.register_forward_pre_hook(_channels_first)
    return encoder


def _channels_first(encoder: nn.Module, images: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Hands images on in the usual order in memory."""
    return tuple(part.contiguous() for part in images)


def check_encoder(
    name: str,
    *,
    size: int,
    pretrained: bool = False,
    weights: str | None = None,
    partial_weights: bool = False,
) -> None:
    """Checks all that `build_encoder` would need, and that the encoder can take images of that size.

    Nothing is drawn and nothing computed, so that it takes a moment for any encoder; a download ends up in
    the hub's cache.

    Raises:
        SettingsError: there is no such encoder, or it cannot take that size.
        CheckpointError: the weights cannot be had, or do not fit.
    """
    fault = _fault(name, size)
    if fault is not None:
        way_out = _way_out(name, size, fault)
        raise SettingsError(f"encoder '{name}' cannot take images of {size} pixels{way_out}")
    given = obtain(name, pretrained, weights)
    if given is not None:
        fit(outline(name, size), name, given, partial=partial_weights)


def _fault(name: str, size: int) -> str | None:
    """What goes wrong with images of a size; None where features [B, C] come out."""
    import torch

    try:
        encoder = outline(name, size)
        if _border(encoder, size):
            return f"its patches would leave out a border of {_border(encoder, size)} pixels"
        device = next(encoder.parameters()).device
        images = torch.zeros(2, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            features = encoder(images)
    except SettingsError:
        raise
    except Exception as error:  # Whatever a network raises whose layers do not fit its maps.
        return " ".join(str(error).split())[:120] or "its layers do not fit such images"
    wanted = (2, num_features(encoder))
    found = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
    return None if found == wanted else f"it gives {found} in place of features {wanted}"


def _border(encoder: nn.Module, size: int) -> int:
    """How many pixels of each side of an image are in no patch of a network that cuts images into patches."""
    from timm.layers import PatchEmbed

    patches: Any = getattr(encoder, "patch_embed", None)
    if not isinstance(patches, PatchEmbed) or patches.dynamic_img_pad:
        return 0
    return size % int(max(cast("Any", patches).patch_size))


def _way_out(name: str, size: int, fault: str) -> str:
    """The end of a refusal: the nearest size that the encoder can take."""
    good = _nearest(name, size)
    if good is None:
        return f" ({fault}); choose another, such as --set encoder=resnet18"
    return f"; it can take {good} pixels: --set size={good}"


def _nearest(name: str, size: int) -> int | None:
    """The nearest size that the encoder can take; None where none of the usual ones will do."""
    native = native_size(name)
    near = sorted({*_USUAL_SIZES, *([native] if native else [])}, key=lambda other: abs(other - size))
    return next((other for other in near if other != size and _fault(name, other) is None), None)


def usable_size(name: str, wanted: int) -> int:
    """Returns the image size, or the one below it that the encoder can take; else the nearest usual one.

    Raises:
        SettingsError: timm does not know the name.
    """
    below = [wanted - wanted % parts for parts in (1, 16, 14, 32) if wanted >= parts]
    good = next((size for size in below if _fault(name, size) is None), None)
    return good or _nearest(name, wanted) or wanted


def num_features(encoder: nn.Module) -> int:
    """Returns C, the number of channels of what the encoder gives, also behind a head that widens it."""
    known = cast("Any", encoder)
    return cast("int", getattr(known, "head_hidden_size", None) or known.num_features)
