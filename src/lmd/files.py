"""Files that are written whole or not at all, and trees of tensors in one of them."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lmd.errors import CheckpointError
from lmd.locks import LOCK, is_at, try_lock
from lmd.reading import json_of
from lmd.seals import BLANK, DAMAGED, TREE, fits, seal

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)

# The end of the name of each temporary folder of ours: `.<name>.<random>.lmd`.
TEMPORARY = ".lmd"
_TREE, _OLD_TREE = "lmd_sealed", "lmd_tree"


def is_file(path: Path) -> bool:
    """Returns whether there is a file of that name; a name that no file can have is none."""
    return os.path.isfile(path)  # noqa: PTH113 - pathlib's raises an error where a name is too long.


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a temporary path that becomes `path` on success and vanishes on failure.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written.
    """
    try:
        with beside(path) as temporary:
            yield temporary
            with temporary.open("rb+") as written:  # Windows syncs only what is open for writing.
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Gives a path in a new temporary folder beside `path`, which is locked for a while and then removed.

    Whatever is written into it, also by libraries that make temporary files of their own, is removed with it.
    So are such folders that killed processes left: a lock goes with its process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    folder, descriptor = _temporary(path)
    try:
        yield folder / path.name
    finally:
        if os.name == "nt":  # It removes no open file.
            os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)
        if os.name != "nt":
            os.close(descriptor)


def _temporary(path: Path) -> tuple[Path, int]:
    """A new temporary folder, and its open lock."""
    while True:
        folder = Path(tempfile.mkdtemp(TEMPORARY, f".{path.name}.", path.parent))
        with suppress(FileNotFoundError):  # Another process swept it away before it was locked.
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
            if try_lock(descriptor) is not False and is_at(descriptor, folder / LOCK):
                return folder, descriptor
            os.close(descriptor)


def is_temporary(path: Path) -> bool:
    """Returns whether a path has the name of a temporary folder of ours, or of a folder's lock.

    >>> is_temporary(Path("run/.settings.yaml.x2_k9qpl.lmd")), is_temporary(Path("run/.lock"))
    (True, True)
    >>> is_temporary(Path("run/settings.yaml"))
    False
    """
    return path.name == LOCK or (path.name.startswith(".") and path.name.endswith(TEMPORARY))


def sweep(folder: Path) -> None:
    """Removes the temporary folders of processes that were killed; those that are still filled stay."""
    try:
        with os.scandir(folder) as entries:
            left = [Path(entry.path) for entry in entries if entry.name.endswith(TEMPORARY)]
    except OSError:
        return
    for path in left:
        if is_temporary(path) and path.is_dir():
            _remove_dead(path)


def _remove_dead(folder: Path) -> None:
    """Removes a temporary folder whose lock no process holds."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        with suppress(OSError):  # Killed, or not locked yet, right after it was made: nothing is in it.
            folder.rmdir()
        return
    dead = try_lock(descriptor)
    if dead and os.name != "nt":
        shutil.rmtree(folder, ignore_errors=True)
    os.close(descriptor)
    if dead and os.name == "nt":
        shutil.rmtree(folder, ignore_errors=True)


def atomic_write(path: Path, content: str | bytes) -> None:
    """Writes a whole file or nothing of it; an interrupted write leaves the old file as it was."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def save_tree(path: Path, tree: Any) -> None:
    """Saves a nested tree of tensors and JSON values in one safetensors file, atomically.

    Tensors are stored under numbered names; the tree that refers to them is JSON in the header, behind a
    checksum of the whole file (`lmd.seals`).
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_detach_tensors(tree, tensors))
    _separate(tensors)
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={_TREE: BLANK + skeleton})
        except SafetensorError as error:  # It reports a full disk as its own error.
            raise OSError(str(error)) from error
        seal(temporary, TREE)


def load_tree(path: Path) -> Any:
    """Returns the tree that `save_tree` stored, once its checksum is found right.

    Raises:
        CheckpointError: the file is missing, damaged or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    try:
        sealed = _check(path)
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {})[_TREE if sealed else _OLD_TREE]
            skeleton = json_of(text[len(BLANK) :] if sealed else text)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _attach_tensors(skeleton, tensors)
    except (OSError, SafetensorError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error}") from error


def _check(path: Path) -> bool:
    """Whether a tree has a checksum; where it has, it fits.

    Raises:
        ValueError: it does not fit.
    """
    fit = fits(path, TREE)
    if fit is False:
        raise ValueError(DAMAGED)
    if fit is None:
        _log.warning("%s is of an earlier version: it has no checksum that would show damage", path)
    return fit is not None


def _detach_tensors(tree: Any, tensors: dict[str, Tensor]) -> Any:
    import torch

    if isinstance(tree, torch.Tensor):
        name = f"{len(tensors):06d}"
        tensors[name] = tree.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(tree, dict):
        pairs = cast("dict[Any, Any]", tree).items()
        return {"dict": [[key, _detach_tensors(value, tensors)] for key, value in pairs]}
    if isinstance(tree, list | tuple):
        return {"list": [_detach_tensors(value, tensors) for value in cast("list[Any]", tree)]}
    return {"value": tree}


def _separate(tensors: dict[str, Tensor]) -> None:
    """Copies the tensors that share memory with others: safetensors takes none of them."""
    seen: set[int] = set()
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage()
        if memory.data_ptr() in seen or memory.nbytes() != tensor.nbytes:
            tensors[name] = tensor.clone()
        seen.add(memory.data_ptr())


def _attach_tensors(skeleton: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    ((kind, content),) = skeleton.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _attach_tensors(value, tensors) for key, value in content}
    if kind == "list":
        return [_attach_tensors(value, tensors) for value in content]
    return content
