"""docs/paper.md is true: its equations, lines of Algorithm 1, tests and settings exist, each in its place."""

from __future__ import annotations

import ast
import pkgutil
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PAPER = ROOT / "docs" / "paper.md"
EQUATIONS = range(3, 13)


class Row(NamedTuple):
    """One row of the table, its names taken out of their backticks."""

    equation: str
    functions: list[str]
    tests: list[str]
    settings: list[str]


def paper_rows(text: str) -> list[Row]:
    """The rows of every markdown table whose columns are Equation, Function, Test and Setting."""
    rows, inside = [], False
    for line in text.splitlines():
        if not line.lstrip().startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if [cell.lower() for cell in cells] == ["equation", "function", "test", "setting"]:
            inside = True
        elif inside and not set("".join(cells)) <= set("-: "):
            assert len(cells) == 4, f"a row of {len(cells)} cells: {line}"
            rows.append(Row(cells[0], *(re.findall(r"`([^`]+)`", cell) for cell in cells[1:])))
    return rows


def is_there(name: str) -> bool:
    """Whether `package.module.name`, `package.module:name` or `package.module.Class.method` exists."""
    try:
        pkgutil.resolve_name(name.removesuffix("()"))
    except (ImportError, AttributeError, ValueError):
        return False
    return True


def find_test(name: str) -> bool:
    """Whether `path/to/test_file.py::test_name` (or a file alone) exists."""
    file, _, test = name.partition("::")
    path = ROOT / file
    if not path.is_file():
        return False
    nodes = ast.walk(ast.parse(path.read_text()))
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    return not test or test.partition("[")[0] in defined


def find_setting(name: str, model: type[BaseModel]) -> bool:
    """Whether `stage.field` (or `stage.field=value`) is a setting of `model`."""
    kind: Any = model
    for part in name.partition("=")[0].strip().split("."):
        if not (isinstance(kind, type) and issubclass(kind, BaseModel) and part in kind.model_fields):
            return False
        kind = kind.model_fields[part].annotation
    return True


def test_the_paper_table_is_true() -> None:
    from lmd.methods.lmd import Settings

    rows = paper_rows(PAPER.read_text())
    assert rows, "docs/paper.md has no table 'Equation | Function | Test | Setting'"
    wrong = []
    for row in rows:
        wrong += [f"{row.equation}: no function {name}" for name in row.functions if not is_there(name)]
        wrong += [f"{row.equation}: no test {name}" for name in row.tests if not find_test(name)]
        wrong += [f"{row.equation}: no setting {n}" for n in row.settings if not find_setting(n, Settings)]
        wrong += [] if row.functions and row.tests else [f"{row.equation}: names no function or no test"]
    assert not wrong


def test_the_checker_of_the_paper_table_sees_what_is_wrong() -> None:
    from lmd.methods.lmd import Settings

    text = (
        "| Equation | Function | Test | Setting |\n|---|:--|---|---|\n"
        "| 4, \\|S\\| | `lmd.losses.relation:sample_relation` | `tests/test_paper_page.py::rows_under` "
        "| `stage1.kl=symmetric` |\n"
        "\n| other | table |\n|---|---|\n| a | `b` |\n"
    )
    ((equation, functions, tests, settings),) = paper_rows(text)
    assert equation == "4, \\|S\\|"
    assert is_there(functions[0])
    assert find_test(tests[0])
    assert find_setting(settings[0], Settings)
    assert not is_there("lmd.losses.relation.no_such_function")
    assert not is_there("lmd.no_such_module.name")
    assert not find_test("tests/test_paper_page.py::test_absent")
    assert not find_test("tests/test_absent.py")
    assert not find_setting("stage1.no_such_setting", Settings)
    assert not find_setting("seed.deeper", Settings)


def rows_under(header: str) -> list[list[str]]:
    """The rows of the table in docs/paper.md whose header starts as given."""
    lines = PAPER.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(header)) + 2
    stop = next(i for i in range(start, len(lines) + 1) if i == len(lines) or not lines[i].startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:stop]]


def test_the_decision_table_is_whole_and_its_settings_exist() -> None:
    from lmd.methods.lmd import Settings

    rows = rows_under("| # |")
    assert [int(row[0]) for row in rows] == list(range(1, 32))
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row[5])]
    named += [name for row in rows_under("| Ablation |") for name in re.findall(r"`([^`]+)`", row[1])]
    assert [name for name in named if not find_setting(name, Settings)] == []


# Each equation stands in the docstring of the one function that the table names; others point there.

REFERENCE = re.compile(r"[Ss]ee eq\. \d+(?:-\d+)?(?:(?:,| and| to) eq\. \d+)*")
MENTION = re.compile(r"\b(?:eqs?\.|[Ee]quations?) ?(\d+)")


def homes() -> dict[int, str]:
    """The function of each numbered equation."""
    rows = {row.equation.partition(",")[0]: row.functions[0] for row in paper_rows(PAPER.read_text())}
    return {number: rows[str(number)] for number in EQUATIONS}


def docstrings() -> dict[str, str]:
    """Every docstring of the package, by the dotted name of what it describes."""
    found: dict[str, str] = {}

    def visit(node: Any, name: str) -> None:
        text = ast.get_docstring(node)
        if text:
            found[name] = text
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef | ast.ClassDef):
                visit(inner, f"{name}.{inner.name}")

    for path in SOURCES:
        parts = path.relative_to(ROOT / "src").with_suffix("").parts
        visit(ast.parse(path.read_text()), ".".join(part for part in parts if part != "__init__"))
    return found


@pytest.mark.parametrize("number", EQUATIONS)
def test_an_equation_stands_in_the_docstring_of_its_function_alone(number: int) -> None:
    texts = docstrings()
    assert f"(eq. {number})" in texts[homes()[number]]
    assert [name for name, text in texts.items() if f"(eq. {number})" in text] == [homes()[number]]


def test_other_docstrings_point_to_an_equation() -> None:
    texts = {name: REFERENCE.sub("", text) for name, text in docstrings().items()}
    found = {name: {int(n) for n in MENTION.findall(text)} for name, text in texts.items()}
    own = {name: {n for n, home in homes().items() if home == name} for name in found}
    assert {name: numbers - own[name] for name, numbers in found.items() if numbers - own[name]} == {}


def test_the_lines_of_algorithm_1_name_what_exists() -> None:
    rows = rows_under("| Line |")
    assert [int(row[0]) for row in rows] == list(range(1, 20))
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row[2])]
    places = [name for name in named if name.startswith("lmd.")]
    assert len(places) >= 19
    assert [name for name in places if not is_there(name)] == []


def test_algorithm_1_reads_beside_the_pdf() -> None:
    """Under 80 lines, and its loop names the lines of the paper in their order."""
    text = (ROOT / "src/lmd/stages/calibration/algorithm.py").read_text()
    assert len(text.splitlines()) < 80
    loop = text[text.index("def run_iteration") :]
    told = [int(n) for words in re.findall(r"# lines? ([\d, ]+):", loop) for n in words.split(",")]
    assert told == sorted(told) == [11, 12, 13, 14, 15, 16] or told == [12, 11, 13, 14, 15, 16]


def test_pages_that_the_code_names_exist() -> None:
    named = {page for path in SOURCES for page in re.findall(r"\bdocs/[\w/]+\.md\b", path.read_text())}
    assert len(named) > 5
    named.discard("docs/README.md")  # Of a MONAI bundle.
    assert [page for page in named if not (ROOT / page).is_file()] == []
