"""The house is in order: docs name what exists, every module says what it is, nothing unsafe is loaded."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from lmd import __version__, methods
from lmd.settings import setting_names

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "lmd").rglob("*.py"))


def rows_of(page: str, header: str) -> list[list[str]]:
    """The rows of the markdown table whose header line starts as given."""
    lines = (ROOT / "docs" / page).read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(header)) + 2
    rows: list[list[str]] = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("row", rows_of("paper.md", "| Equation |"), ids=lambda row: row[0])
def test_the_table_of_equations_is_true(row: list[str]) -> None:
    _, function, test, setting = row
    module, name = names_in(function)[0].rsplit(".", 1)
    assert hasattr(importlib.import_module(module), name)
    file, test_name = names_in(test)[0].split("::")
    assert f"def {test_name}(" in (ROOT / file).read_text()
    assert names_in(setting)[0] in setting_names(methods.load("lmd").Settings)


def test_every_setting_of_the_decision_table_exists_and_every_row_is_there() -> None:
    rows = rows_of("paper.md", "| # |")
    known = setting_names(methods.load("lmd").Settings)
    assert [int(row[0]) for row in rows] == list(range(1, 26))
    for row in rows:
        assert set(names_in(row[5])) <= set(known), row
    for row in rows_of("paper.md", "| Ablation |"):
        assert names_in(row[1])[0].split("=")[0] in known


def test_every_module_and_public_function_says_what_it_is() -> None:
    silent: list[str] = []
    for file in SOURCES:
        tree = ast.parse(file.read_text())
        if not ast.get_docstring(tree):
            silent.append(str(file.relative_to(ROOT)))
        for node in tree.body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                silent.append(f"{file.relative_to(ROOT)}: {node.name}")
    assert silent == []


def test_nothing_unsafe_is_loaded() -> None:
    for file in SOURCES:
        text = file.read_text()
        assert not re.search(
            r"\bimport pickle|pickle\.load|torch\.load\(|allow_pickle=True|yaml\.load\(", text
        ), file


def test_the_changelog_knows_the_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_files_are_of_one_subject() -> None:
    long = [str(file) for file in SOURCES if len(file.read_text().splitlines()) > 400]
    assert long == []


def test_recipes_resolve() -> None:
    from lmd.settings import read_recipe, resolve

    recipes = sorted((ROOT / "recipes").rglob("*.yaml"))
    assert recipes
    for file in recipes:
        tree = read_recipe(file)
        resolve(methods.load(tree.pop("method")).Settings, tree)
