"""Names of encoders: timm's, with or without the tag of a set of weights, and what timm says of them."""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from lmd.data.feed.scale import IMAGENET, Channels, Scale
from lmd.errors import SettingsError, suggest

if TYPE_CHECKING:
    from torch import nn


def architecture(name: str) -> str:
    """Returns the name without its tag: 'resnet18' of 'resnet18.a1_in1k'.

    Raises:
        SettingsError: timm does not know the name, or the tag.
    """
    import timm

    if "/" in name or ":" in name:
        raise SettingsError(
            f"encoder '{name}' is no timm name: name the architecture alone, such as 'resnet18' or "
            f"'resnet18.a1_in1k', and give other weights with --weights FILE (safetensors)"
        )
    plain, dot, tag = name.partition(".")
    if plain not in timm.list_models():
        raise SettingsError(f"unknown encoder '{plain}'{_renamed(plain) or _suggest_encoder(plain)}")
    tags = [known.partition(".")[2] for known in timm.list_models(f"{plain}.*", pretrained=True)]
    if dot and tag not in tags:
        hint = suggest(tag, tags) if tags else "; timm has no weights for it, so that it has no tags"
        raise SettingsError(f"encoder '{plain}' has no weights with the tag '{tag}'{hint}")
    return plain


def _renamed(name: str) -> str:
    """The end of a refusal: what timm calls today what it called so before; "" of other names."""
    from timm.models import _registry

    old: dict[str, str | None] = getattr(_registry, "_deprecated_models", {})
    new = old.get(name) or old.get(name.removeprefix("vit_"))
    new = new or (name.removeprefix("vit_") if name.startswith("vit_deit_") else None)
    known = new is not None and _registry.is_model(new.partition(".")[0])
    return f"; timm calls it '{new}' now" if known else ""


def _suggest_encoder(name: str) -> str:
    import timm

    near = suggest(name, timm.list_models())
    return near if "did you mean" in near else "; any timm name will do, such as 'resnet18'"


def configuration(name: str) -> Any:
    """Returns timm's configuration of a name: where its weights are, and which images they were made for."""
    from timm.models import get_pretrained_cfg

    return get_pretrained_cfg(name)


def normalisation(name: str) -> Scale:
    """Returns the channel means and standard deviations with which timm says the encoder was trained.

    They are a property of the name, also where no weights of timm's are used. ImageNet's where timm has none.
    """
    known = configuration(name)
    if known is None or len(known.mean) != 3:
        return IMAGENET
    return _channels(known.mean), _channels(known.std)


def _channels(values: Any) -> Channels:
    return cast("Channels", tuple(float(value) for value in values))


def native_size(name: str) -> int | None:
    """Returns the image size that timm's configuration of a name was made for; None where it has none."""
    known = configuration(name)
    return None if known is None else max(known.input_size[1:])


def create(name: str, size: int | None, num_classes: int = 0) -> nn.Module:
    """Returns timm's new network of a name for images of a size (None: timm's own), weights drawn.

    A network whose layers depend on the image size is built for it; the others take any size.
    """
    import timm

    plain = architecture(name)
    wanted: dict[str, Any] = {} if size is None or not _takes_size(plain) else {"img_size": size}
    return timm.create_model(plain, pretrained=False, num_classes=num_classes, **wanted)


def outline(name: str, size: int | None, num_classes: int = 0) -> nn.Module:
    """Returns the same network without its numbers: names and shapes, at next to no cost, nothing drawn.

    It can be run, too: what comes out has a shape alone.
    """
    import timm as timm  # Here: torch 2.6 cannot load what timm asks for while its numbers are left out.
    import torch

    try:
        with torch.device("meta"):
            return create(name, size, num_classes)
    except NotImplementedError:  # A few networks of older versions of timm cannot be built so.
        with torch.random.fork_rng(devices=[]):
            return create(name, size, num_classes)


@cache
def _takes_size(plain: str) -> bool:
    """Whether the network's class asks for the image size when it is built."""
    for kind in type(outline(plain, None)).__mro__:
        parameters = inspect.signature(kind.__init__).parameters
        if "img_size" in parameters:
            return True
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
            return False
    return False
