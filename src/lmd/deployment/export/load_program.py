"""Loads the program in model.pt2, once it is found to hold nothing but plain numbers and known operations.

    from load import load

    model, about = load("model.pt2")
    p, d = model(images)  # images: a uint8 tensor [N, 3, S, S]; p ranks, d decides

`torch.export.load` trusts its file: it unpickles parts of it, evaluates text in it, and calls what the
program names. `lmd export` writes none of this, and `load` refuses a file that has any of it. This file needs
torch and nothing else.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# What a program of ours consists of; the weights lie there as plain bytes.
_MEMBERS = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/(serialization_id|version)|\.format_version"
    r"|\.storage_alignment|models/model\.json|extra/[\w.]+|data/sample_inputs/model\.pt"
    r"|data/weights/(model_weights_config\.json|weight_\d+)"
    r"|data/constants/(model_constants_config\.json|tensor_\d+)"
)
_TENSORS = re.compile(r"weight_\d+|tensor_\d+")
# Pure functions of tensors and numbers; `from_file` opens files.
_OPERATIONS = re.compile(r"torch\.ops\.aten\.(?!from_file)\w+(\.\w+)?|_operator\.\w+|torch\.sym_\w+")
# Numbers of images, as sympy writes them; it evaluates what it reads.
_EXPRESSIONS = re.compile(
    r"(Symbol\('[su]\d{1,9}'(, (positive|integer)=True)*\)|(Add|Mul|Integer|FloorDiv|Mod|Max|Min)\("
    r"|-?\d{1,9}|[,) ]){1,99}"
)


def load(path: Path | str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Returns a program and what is known of it: "classes" and "card".

    Raises:
        ValueError: the file is no such program, or holds what could run code.
    """
    import torch

    check(path)
    extra = {"about.json": ""}
    program = torch.export.load(path, extra_files=extra)
    return program.module(), json.loads(extra["about.json"])


def check(path: Path | str) -> None:
    """Checks that a file holds a program of operations on tensors, and no pickle.

    Raises:
        ValueError: it does not; the part is named.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.partition("/")[2]: name for name in archive.namelist()}
            _check_members(archive, members)
            _check_graph(json.loads(archive.read(members["models/model.json"])))
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} holds no program: {error}") from error


def _check_members(archive: zipfile.ZipFile, members: dict[str, str]) -> None:
    for name, whole in members.items():
        _refuse(not _MEMBERS.fullmatch(name), f"it has a part called {name[:80]!r}")
        if name.endswith(".pt"):
            _refuse(archive.getinfo(whole).file_size > 0, f"{name} is a pickle")
        if name.endswith("_config.json"):
            for one in json.loads(archive.read(whole))["config"].values():
                plain = not one["use_pickle"] and _TENSORS.fullmatch(one["path_name"])
                _refuse(not plain, f"{name} names a pickle")


def _check_graph(tree: Any) -> None:
    _refuse(bool(tree.get("guards_code")), "it brings code with it")
    for key, value in _texts(tree):
        _refuse(key == "source_fn_stack", "it names functions")
        if key == "target":
            _refuse(not _OPERATIONS.fullmatch(value), f"it calls {value[:80]!r}")
        elif key == "expr_str":
            _refuse(not _EXPRESSIONS.fullmatch(value), f"it has the expression {value[:80]!r}")


def _texts(tree: Any) -> Iterator[tuple[str, str]]:
    """Each text of a tree of JSON, with the name that it stands under."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if isinstance(value, str):
                yield str(key), value
            else:
                yield from _texts(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _texts(value)


def _refuse(wrong: bool, why: str) -> None:
    if wrong:
        raise ValueError(f"no program that 'lmd export' wrote: {why}")
