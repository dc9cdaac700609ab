"""Reads a file of weights, and says of any other file what it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lmd.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

CONVERT = "docs/weights.md says how to convert it safely"

# What a file begins with, and what it then is.
_BEGINNINGS = {
    b"PK\x03\x04": "a zip archive, as torch.save and numpy write them",
    b"\x80": "a pickle, as torch.save writes it",
    b"\x93NUMPY": "a numpy array",
    b"\x89HDF": "an HDF5 file, as Keras writes it",
    b"\x89PNG": "an image",
    b"\xff\xd8": "an image",
    b"version https://git-lfs": "a git-lfs pointer, not the file itself: fetch it with 'git lfs pull'",
    b"<": "a page of the web, not a file of weights: the download went wrong",
    b"\x1f\x8b": "a gzip archive",
}
# Formats that hold weights, too. Those of the first kind may run code when they are opened.
_MAY_RUN_CODE = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle", ".tar", ".joblib")
_OTHERS = (".npz", ".npy", ".h5", ".hdf5", ".keras", ".onnx", ".msgpack", ".pb", ".tflite", ".gguf")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a safetensors file; no other kind of file is opened.

    Raises:
        CheckpointError: one line on what the file is.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _refuse_other_kinds(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"weights {path} are not a safetensors file: {_what_it_is(path, error)}"
        ) from error


def _refuse_other_kinds(path: Path) -> None:
    if path.is_dir():
        raise CheckpointError(f"weights {path} are a folder: name the .safetensors file in it")
    if not path.is_file():
        raise CheckpointError(f"no weights file {path}")
    suffix = path.suffix.lower()
    if suffix in _MAY_RUN_CODE:
        raise CheckpointError(
            f"weights {path}: a {suffix} file may run code when it is opened (pickle): lmd opens none; "
            f"{CONVERT}"
        )
    if suffix in _OTHERS:
        raise CheckpointError(f"weights {path}: lmd reads .safetensors, not {suffix}; {CONVERT}")


def _what_it_is(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return str(error.strerror or error)
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return "the file is empty"
    known = next((what for beginning, what in _BEGINNINGS.items() if start.startswith(beginning)), None)
    if known is not None:
        return f"it is {known}" + (f"; {CONVERT}" if "torch.save" in known else "")
    if start[8:9] == b"{":
        return f"it is cut off or damaged: load it anew ({error})"
    return _as_text(path, start) or str(error)


def _as_text(path: Path, start: bytes) -> str | None:
    """What a file of text is; None of any other."""
    if start[257:262] == b"ustar":
        return f"it is a tar archive; {CONVERT}"
    try:
        text = " ".join(start.decode("ascii").split())
    except UnicodeDecodeError:
        return None
    if not text.isprintable():
        return None
    if text.startswith(("{", "[")):
        index = "weight_map" in path.read_text(encoding="utf-8", errors="replace")
        parts = ": it lists the files of weights that are in several parts; name a model that has one file"
        return f"it is JSON, not a file of weights{parts if index else ''}"
    return f"it is text ('{text[:40]}'), not a file of weights: the download went wrong"
