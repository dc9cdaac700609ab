"""Encoders: any timm name, with weights from a download, a file or none."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lmd.errors import CheckpointError, SettingsError, suggest

if TYPE_CHECKING:
    from torch import Tensor, nn

_log = logging.getLogger(__name__)


def build_encoder(
    name: str, *, pretrained: bool = False, weights: str | None = None, partial_weights: bool = False
) -> nn.Module:
    """Returns an encoder g: images [B, 3, H, W] -> features [B, C], C = `num_features(encoder)`.

    It computes what timm's computes, on a CPU faster where its maps become small (`make_dense`).

    Args:
        name: a name that timm knows, such as "resnet18".
        pretrained: download timm's weights; ignored where `weights` names a file.
        weights: a safetensors file with the tensors of such an encoder; a classifier in it is left out.
        partial_weights: accept a file that lacks tensors; they keep their initial values and are listed.

    Raises:
        SettingsError: timm does not know the name.
        CheckpointError: the weights cannot be had, or do not fit.
    """
    import timm

    from lmd.models.dense import make_dense

    if name not in timm.list_models():
        raise SettingsError(f"unknown encoder '{name}'{_suggest_encoder(name)}")
    try:
        encoder = timm.create_model(name, pretrained=pretrained and weights is None, num_classes=0)
    except Exception as error:  # The hub client raises many kinds; each means "no weights".
        raise CheckpointError(
            f"cannot download the weights of '{name}' ({type(error).__name__}); "
            "give a file with --weights FILE, or train from scratch with --set pretrained=false"
        ) from error
    if weights is not None:
        load_weights(encoder, Path(weights), partial=partial_weights)
    make_dense(encoder)
    return encoder


def _suggest_encoder(name: str) -> str:
    import timm

    near = suggest(name, timm.list_models())
    return near if "did you mean" in near else "; any timm name will do, such as 'resnet18'"


def load_weights(encoder: nn.Module, path: Path, *, partial: bool) -> list[str]:
    """Loads a safetensors file into an encoder and returns the names the file lacks.

    Raises:
        CheckpointError: no such file, another format, another shape, or missing tensors without `partial`.
    """
    found = _read_tensors(path)
    expected = encoder.state_dict()
    wrong = [name for name in expected if name in found and found[name].shape != expected[name].shape]
    if wrong:
        shapes = f"{tuple(found[wrong[0]].shape)}, the encoder needs {tuple(expected[wrong[0]].shape)}"
        raise CheckpointError(f"weights {path} do not fit: {wrong[0]} has shape {shapes}")
    # BatchNorm's step counter is no weight: old files lack it and nothing depends on it.
    missing = [name for name in expected if name not in found and not name.endswith("num_batches_tracked")]
    if len(missing) == sum(not name.endswith("num_batches_tracked") for name in expected):
        raise CheckpointError(
            f"weights {path} hold nothing of this encoder (first name: {next(iter(found), '-')})"
        )
    if missing and not partial:
        raise CheckpointError(
            f"weights {path} lack {len(missing)} tensors ({_shorten(missing)}); accept with --partial-weights"
        )
    encoder.load_state_dict({name: found.get(name, value) for name, value in expected.items()})
    if missing:
        _log.warning(
            "%s lacks %d tensors, left at their initial values: %s",
            path.name,
            len(missing),
            _shorten(missing),
        )
    return missing


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise CheckpointError(f"no weights file {path}")
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"weights {path} are not a safetensors file: {error}") from error


def _shorten(names: list[str]) -> str:
    blocks = list(dict.fromkeys(name.split(".")[0] for name in names))
    return f"in {', '.join(blocks)}"


def num_features(encoder: nn.Module) -> int:
    """Returns C, the number of channels of what the encoder gives, also behind a head that widens it."""
    known = cast("Any", encoder)
    return cast("int", getattr(known, "head_hidden_size", None) or known.num_features)
