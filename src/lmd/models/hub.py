"""Downloads timm's weights: safetensors alone, from the hub that timm names, or none within seconds."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmd.errors import CheckpointError
from lmd.models.names import architecture, configuration
from lmd.models.packages import from_package

# How long the hub has to answer; the download itself may take as long as it needs.
SECONDS = 2.0


class NoWeightsError(CheckpointError):
    """There are no weights to be had from a hub: what is wrong, and the ways that need none."""

    ways: str | None = None  # Those of the verb, where they are not the options of a training.

    def __str__(self) -> str:
        """The whole line."""
        return f"{super().__str__()}; {self.ways or ways_out()}"


def ways_out() -> str:
    """Returns what a training is given in place of a download: complete parts of its command."""
    return (
        f"without a hub: {from_package('--set encoder=')}, or --weights FILE (safetensors), or --set "
        "pretrained=false, which begins with random weights (docs/weights.md)"
    )


def download(name: str) -> Path:
    """Returns the file of timm's weights for a name: from the hub's cache, or downloaded into it.

    Raises:
        CheckpointError: there are none as safetensors, or no network; one line with the ways out.
    """
    where = _where(name)
    with _silence():
        return _cached(where) or _downloaded(where, name)


def is_cached(name: str) -> bool:
    """Returns whether timm's weights for a name are on this machine; no network is asked.

    Raises:
        CheckpointError: there are none as safetensors.
    """
    return _cached(_where(name)) is not None


def _where(name: str) -> dict[str, Any]:
    """Repository, file and revision, as the hub's client takes them."""
    architecture(name)
    repository, file = _place(name)
    plain, _, revision = repository.partition("@")
    return {"repo_id": plain, "filename": file, "revision": revision or None}


def _place(name: str) -> tuple[str, str]:
    """The repository and the file of the weights."""
    known = configuration(name)
    if known is None or not known.has_weights:
        raise NoWeightsError(f"timm has no weights of '{name}'")
    if not known.hf_hub_id:
        raise NoWeightsError(
            f"timm has the weights of '{name}' only as a file that may run code when it is opened (pickle), "
            "which lmd does not load"
        )
    named = known.hf_hub_filename or ""
    if named.endswith(".safetensors"):
        return known.hf_hub_id, named
    return known.hf_hub_id, "open_clip_model.safetensors" if "open_clip" in named else "model.safetensors"


def _cached(where: dict[str, Any]) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(**where)
    return Path(found) if isinstance(found, str) else None


def _downloaded(where: dict[str, Any], name: str) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    seconds = float(os.environ.get("HF_HUB_ETAG_TIMEOUT") or SECONDS)
    try:
        # Asked first and with a deadline: the hub's client would wait and try again for minutes.
        _within(seconds, lambda: get_hf_file_metadata(hf_hub_url(**where), timeout=seconds))
        return Path(hf_hub_download(**where, etag_timeout=seconds))
    except (EntryNotFoundError, RepositoryNotFoundError):
        raise NoWeightsError(f"the hub has no {where['filename']} of '{name}'") from None
    except Exception as error:  # The hub's client raises many kinds; each means "no weights".
        # Without its causes: those of a hub's client are a hundred lines that say nothing more.
        raise NoWeightsError(f"cannot download the weights of '{name}' ({type(error).__name__})") from None


def _within(seconds: float, call: Callable[[], object]) -> None:
    """Runs a call that is given up after a while; looking up a name cannot be stopped in another way."""
    ended: list[Exception | None] = []

    def run() -> None:
        try:
            call()
            ended.append(None)
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not ended:
        raise TimeoutError(f"no answer within {seconds} seconds")
    if ended[0] is not None:
        raise ended[0]


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps the hub's client from writing, as one line says what went wrong, and from telling who asks."""
    from huggingface_hub import constants
    from huggingface_hub.utils import logging

    known: Any = constants
    before = logging.get_verbosity(), known.HF_HUB_DISABLE_TELEMETRY
    logging.set_verbosity(logging.CRITICAL)
    known.HF_HUB_DISABLE_TELEMETRY = True
    try:
        yield
    finally:
        logging.set_verbosity(before[0])
        known.HF_HUB_DISABLE_TELEMETRY = before[1]
