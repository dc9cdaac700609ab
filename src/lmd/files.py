"""Files that are written whole or not at all, and trees of tensors in one of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any, cast

from lmd.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_TREE = "lmd_tree"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` that becomes `path` on success and vanishes on failure.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as handle:
            temporary = Path(handle.name)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: Path, content: str | bytes) -> None:
    """Writes a whole file or nothing of it; an interrupted write leaves the old file as it was."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def save_tree(path: Path, tree: Any) -> None:
    """Saves a nested tree of tensors and JSON values in one safetensors file, atomically.

    Tensors are stored under numbered names; the tree that refers to them is JSON in the header.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_detach_tensors(tree, tensors))
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={_TREE: skeleton})
        except SafetensorError as error:  # It reports a full disk as its own error.
            raise OSError(str(error)) from error


def load_tree(path: Path) -> Any:
    """Returns the tree that `save_tree` stored.

    Raises:
        CheckpointError: the file is missing, damaged or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            skeleton = json.loads((file.metadata() or {})[_TREE])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error}") from error
    return _attach_tensors(skeleton, tensors)


def _detach_tensors(tree: Any, tensors: dict[str, Tensor]) -> Any:
    import torch

    if isinstance(tree, torch.Tensor):
        name = f"{len(tensors):06d}"
        tensors[name] = tree.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(tree, dict):
        pairs = cast("dict[Any, Any]", tree).items()
        return {"dict": [[key, _detach_tensors(value, tensors)] for key, value in pairs]}
    if isinstance(tree, list | tuple):
        return {"list": [_detach_tensors(value, tensors) for value in cast("list[Any]", tree)]}
    return {"value": tree}


def _attach_tensors(skeleton: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    ((kind, content),) = skeleton.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _attach_tensors(value, tensors) for key, value in content}
    if kind == "list":
        return [_attach_tensors(value, tensors) for value in content]
    return content
