"""A model as a program of torch, and the small file that loads it without trusting it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lmd.deployment.export import load_program
from lmd.deployment.export.onnx_file import Answering
from lmd.deployment.export.program import without_noise, write_program
from lmd.errors import SettingsError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

PROGRAM, LOADER = "model.pt2", "load.py"
NAMES = {PROGRAM: "the model, a program of torch.export", LOADER: "loads it: needs torch alone"}


def write_torch(folder: Path, program: ExportedProgram, about: Mapping[str, Any]) -> Answering:
    """Writes a program and its loader into a folder, and returns what the loaded program answers.

    Raises:
        SettingsError: the encoder has operations that the loader refuses.
    """
    write_program(folder / PROGRAM, program, dict(about))
    (folder / LOADER).write_bytes(Path(load_program.__file__).read_bytes())
    try:
        return answering(folder / PROGRAM)
    except ValueError as error:  # The program does something that its loader does not let through.
        encoder = about["card"]["encoder"]
        raise SettingsError(f"encoder '{encoder}' cannot be exported: {error}; take --format onnx") from error


def answering(path: Path) -> Answering:
    """Returns what the program in a file answers."""
    with without_noise():
        model, _ = load_program.load(path)

    def answer(images: Tensor) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode(), without_noise():
            p, d = model(images)
        return p.numpy(), d.numpy()

    return answer
