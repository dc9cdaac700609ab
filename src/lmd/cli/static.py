"""The names of a method's settings, read from its source: importing it takes the seconds of torch.

A misspelt `--set` is so answered at once. Only names are looked at; the full check comes with the training.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


class UnsureError(Exception):
    """The source says something that this reader does not understand."""


def setting_names(method: Path) -> tuple[set[str], set[str]]:
    """Returns the dotted names of a method's settings, and parts of names of earlier versions.

    Raises:
        UnsureError: they cannot be told without importing the file.
    """
    try:
        names = set(_names(method, "Settings", ""))
        return names, {old for file in _visited(method) for old in _old_names(file)}
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        raise UnsureError(str(error)) from error


def _names(file: Path, name: str, prefix: str) -> list[str]:
    """The names of a class of settings, those of its bases and groups included."""
    file, node = _find(file, name)
    found: list[str] = []
    for base in node.bases:
        if ast.unparse(base) != "BaseModel":
            found += _names(*_where(file, base), prefix)
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and not ast.unparse(line.annotation).startswith("ClassVar"):
            found += _of_field(file, line, prefix)
    return found


def _of_field(file: Path, field: ast.AnnAssign, prefix: str) -> list[str]:
    """The name of a field and, of a group, those of its members."""
    name = prefix + ast.unparse(field.target)
    try:
        return [name, *_names(*_where(file, field.annotation), f"{name}.")]
    except UnsureError:
        return [name]  # Its kind is no class of settings, such as a number.


def _where(file: Path, kind: ast.expr) -> tuple[Path, str]:
    """The file and the name of the class that an annotation or a base is."""
    if isinstance(kind, ast.Name):
        return file, kind.id
    if isinstance(kind, ast.Attribute) and isinstance(kind.value, ast.Name):
        return _imported(file, kind.value.id, module=True), kind.attr
    raise UnsureError(ast.unparse(kind))


def _find(file: Path, name: str) -> tuple[Path, ast.ClassDef]:
    """A class and the file that defines it, followed through imports."""
    for node in _parsed(file).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return file, node
    return _find(_imported(file, name), name)


def _imported(file: Path, name: str, module: bool = False) -> Path:
    """The file that a name is imported from; with `module` the name is that of the file itself."""
    for node in _parsed(file).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lmd."):
            for alias in node.names:
                if (alias.asname or alias.name) == name == alias.name:
                    return _file(f"{node.module}.{name}" if module else node.module)
    raise UnsureError(f"{file} does not import {name} from lmd")


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _visited(file: Path) -> set[Path]:
    """A method's file and the files of the classes that its settings may be made of."""
    found, waiting = set[Path](), {file}
    while waiting:
        one = waiting.pop()
        found.add(one)
        froms = [
            node.module for node in _parsed(one).body if isinstance(node, ast.ImportFrom) and node.module
        ]
        near = ("lmd.stages.", "lmd.methods.", "lmd.settings")
        waiting |= {_file(name) for name in froms if name.startswith(near)} - found
        if "lmd.methods" in froms:
            waiting |= {ROOT / "methods" / "lmd.py"} - found
    return found


def _old_names(file: Path) -> set[str]:
    """The texts in what a file calls OLD_NAMES: names of earlier versions, and today's."""
    targets = (node for node in ast.walk(_parsed(file)) if isinstance(node, ast.Assign | ast.AnnAssign))
    named = [node for node in targets if "OLD_NAMES" in ast.unparse(node).partition("=")[0]]
    parts = (part for node in named for part in ast.walk(node))
    return {
        part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)
    } - {""}


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))
