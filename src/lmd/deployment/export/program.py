"""A model as a program of torch.export: what ONNX is made from, and a file of its own."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lmd.deployment.export.whole import Whole
from lmd.errors import SettingsError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

# Of what torch notes beside each step: lines of source files, with the paths of this machine.
_OF_THIS_MACHINE = ("stack_trace", "source_fn_stack", "from_node")


def program_of(module: Whole, encoder: str, size: int) -> ExportedProgram:
    """Returns a model as a program that takes any number of images of its size.

    Raises:
        SettingsError: torch cannot follow the images through this encoder.
    """
    images = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    shapes = {"images": {0: torch.export.Dim("batch", min=1)}}
    try:
        with without_noise(), torch.no_grad():
            program = torch.export.export(module, (images,), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # Whatever an encoder raises that looks at its images.
        raise SettingsError(f"encoder '{encoder}' cannot be exported: {in_a_line(error)}") from error
    return _without_paths(program)


def _without_paths(program: ExportedProgram) -> ExportedProgram:
    """The program without what is of this machine, and without example images: they would be a pickle."""
    for node in program.graph.nodes:
        for name in _OF_THIS_MACHINE:
            node.meta.pop(name, None)
    program.example_inputs = None
    return program


def write_program(path: Path, program: ExportedProgram, about: dict[str, Any]) -> None:
    """Writes a program, with what is known of the model in it."""
    with without_noise():
        torch.export.save(program, path, extra_files={"about.json": json.dumps(about)})


@contextmanager
def without_noise() -> Iterator[None]:
    """Drops what torch and the exporters say of their own parts.

    onnxruntime speaks through Python's root logger, which then prints the lines of all others, too.
    """
    root = logging.getLogger()
    handlers, least = root.handlers[:], logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(least)
        root.handlers[:] = handlers


def in_a_line(error: Exception) -> str:
    """Returns what an error says, in one short line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
