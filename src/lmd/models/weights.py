"""Puts tensors into an encoder, where they are the tensors of such an encoder."""

from __future__ import annotations

import logging
import math
import re
import sys
import warnings
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from lmd.errors import CheckpointError
from lmd.models.names import native_size, outline
from lmd.models.prefixes import left_out, only_prefix
from lmd.text import numbered

if TYPE_CHECKING:
    from lmd.models.sources import Given

_log = logging.getLogger(__name__)
Tensors = dict[str, Tensor]

# Tables of positions are the only tensors that another image size stretches.
_POSITIONS = re.compile(r"pos|rel")


def load_weights(encoder: nn.Module, name: str, given: Given, *, partial: bool) -> list[str]:
    """Loads tensors into an encoder of that name and returns the names that they lack.

    Raises:
        CheckpointError: they are of another architecture, of another shape or kind of number, not finite, or
            some are missing without `partial`.
    """
    found = fit(encoder, name, given, partial=partial)
    missing = _missing(encoder.state_dict(), found)
    encoder.load_state_dict({**encoder.state_dict(), **found})
    if missing:
        text = "%s lack %s, left at the initial values: %s"
        _log.warning(text, given.title, numbered(len(missing), "tensor"), _shorten(missing))
    return missing


def fit(encoder: nn.Module, name: str, given: Given, *, partial: bool) -> Tensors:
    """Returns the tensors that an encoder of that name takes; the encoder may be an outline.

    Raises:
        CheckpointError: as `load_weights`.
    """
    expected = encoder.state_dict()
    classifier = _classifier_names(name, expected)
    found = _unwrapped(given, expected, classifier)
    if not _fits(found, expected, classifier):
        found = _in_timms_form(found, encoder)
    _refuse_others(found, expected, classifier, name, given.title)
    found = {key: value for key, value in found.items() if key in expected}
    _refuse_shapes(found, expected, name, given.title)
    _refuse_gaps(found, expected, given.title, partial)
    _refuse_numbers(found, expected, given.title)
    return {key: value.to(expected[key].dtype) for key, value in found.items()}


def _unwrapped(given: Given, expected: Tensors, classifier: set[str]) -> Tensors:
    """The tensors without what a trainer has put before their names, and without a classifier beside them."""
    prefix = left_out(given.tensors, expected, classifier)
    if not prefix:
        return given.tensors
    others = [key for key in given.tensors if not key.startswith(prefix)]
    beside = f", and the classifier {_shorten(others)} with it" if others else ""
    where = "the encoder's" if others else "all"
    text = "%s: '%s' at the beginning of %s names is left out%s"
    _log.warning(text, given.title, prefix, where, beside)
    return {key.removeprefix(prefix): value for key, value in given.tensors.items() if key.startswith(prefix)}


def _classifier_names(name: str, expected: Tensors) -> set[str]:
    """What a file may hold besides the encoder: the classifier of the same network."""
    whole = outline(name, None, num_classes=10).state_dict()
    own = {key for key in whole if key not in expected}
    return own | {f"{layer}.{part}" for layer in ("fc", "last_linear") for part in ("weight", "bias")}


def _fits(found: Tensors, expected: Tensors, classifier: set[str]) -> bool:
    return all(
        name in classifier or (name in expected and value.shape == expected[name].shape)
        for name, value in found.items()
    )


def _in_timms_form(found: Tensors, encoder: nn.Module) -> Tensors:
    """The tensors as timm reads them: its names for those of the authors, tables of positions of its size."""
    translate: Any = getattr(sys.modules[type(encoder).__module__], "checkpoint_filter_fn", None)
    if translate is None:
        return found
    try:
        with warnings.catch_warnings():  # Torch warns of how timm stretches tables, which is timm's affair.
            warnings.simplefilter("ignore")
            changed: Any = translate(dict(found), encoder)
    except Exception:  # It expects a file of its own network, and raises anything where it is none.
        return found
    if not isinstance(changed, dict) or not changed:
        return found
    stretched = [
        key
        for key, value in changed.items()
        if key in found and found[key].numel() != value.numel() and not _POSITIONS.search(key)
    ]
    return found if stretched else changed


def _refuse_others(found: Tensors, expected: Tensors, classifier: set[str], name: str, title: str) -> None:
    if not any(key in found for key in _counted(expected)):
        first = next(iter(found), "-")
        a_run = first.startswith(("classifier.", "encoder."))
        hint = (
            "; a run of lmd is named by its folder: --weights RUN" if a_run else only_prefix(found, expected)
        )
        raise CheckpointError(f"{title} hold nothing of this encoder '{name}' (first name: {first}){hint}")
    surplus = _counted(key for key in found if key not in expected and key not in classifier)
    if surplus:
        of, among = len(_counted(found)), len(_counted(expected))
        are = "is" if len(surplus) == 1 else "are"
        raise CheckpointError(
            f"{title} are of another architecture than '{name}': {len(surplus)} of their {of} tensors {are} "
            f"not among its {among}, the first is {surplus[0]}"
        )


def _counted(names: Any) -> list[str]:
    """The names without BatchNorm's step counters."""
    # They are no weights: old files lack them and nothing depends on them.
    return [name for name in names if not name.endswith("num_batches_tracked")]


def _refuse_shapes(found: Tensors, expected: Tensors, name: str, title: str) -> None:
    wrong = next((key for key in found if found[key].shape != expected[key].shape), None)
    if wrong is None:
        return
    native = outline(name, None).state_dict()
    sized = wrong in native and native[wrong].shape == found[wrong].shape
    hint = (
        f"; they are for images of {native_size(name)} pixels: --set size={native_size(name)}"
        if sized
        else ""
    )
    shapes = f"{tuple(found[wrong].shape)}, the encoder needs {tuple(expected[wrong].shape)}"
    raise CheckpointError(f"{title} do not fit '{name}': {wrong} has shape {shapes}{hint}")


def _missing(expected: Tensors, found: Tensors) -> list[str]:
    return [name for name in _counted(expected) if name not in found]


def _refuse_gaps(found: Tensors, expected: Tensors, title: str, partial: bool) -> None:
    missing = _missing(expected, found)
    if missing and not partial:
        raise CheckpointError(
            f"{title} lack {numbered(len(missing), 'tensor')} ({_shorten(missing)}); accept with "
            "--partial-weights"
        )


def _refuse_numbers(found: Tensors, expected: Tensors, title: str) -> None:
    """Refuses what would be garbage as weights: quantised numbers, such as int8, lack their scale."""
    for name, value in found.items():
        if not expected[name].is_floating_point() and not value.is_complex():
            continue  # A counter of steps.
        if not value.is_floating_point():
            kind = str(value.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"{title}: {name} holds {kind} numbers, as quantised or other files do; lmd takes fp16, "
                "bf16, fp32 and fp64"
            )
        if not math.isfinite(float(value.float().abs().sum())):
            raise CheckpointError(f"{title}: {name} holds numbers that are not finite")
        if name.endswith("running_var") and float(value.float().min()) < 0:
            raise CheckpointError(f"{title}: {name} holds negative numbers, but it is a variance")


def _shorten(names: list[str]) -> str:
    blocks = list(dict.fromkeys(name.split(".")[0] for name in names))
    return f"in {', '.join(blocks)}"
