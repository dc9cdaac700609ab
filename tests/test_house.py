"""What holds for the whole project: light imports, one version, safe loading, documents that are true."""

from __future__ import annotations

import ast
import importlib.metadata
import pkgutil
import re
import resource
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from pydantic import BaseModel

import lmd

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAPER = ROOT / "docs" / "paper.md"


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# Light: neither the package nor the help may wait for torch.

HEAVY = {"torch", "torchvision", "timm", "lightning_fabric", "pandas", "matplotlib", "sklearn", "scipy"}


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after running `code`."""
    code += "\nimport sys; print(' '.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not modules_after("import lmd") & HEAVY


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['lmd', '--help']\n"
        "from lmd.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )
    assert not modules_after(code) & HEAVY


def test_preparing_and_inspecting_do_without_torch(tmp_path: Path) -> None:
    """It takes two seconds to load; each process that builds a cache would wait for it."""
    make = ["prepare", "phantom", "--out", str(tmp_path / "data"), "--images", "40"]
    few = ["--val-per-class", "1", "--test-per-class", "1", "--size", "32"]
    code = (
        "import sys\nfrom lmd.cli import main\n"
        f"for words in {[[*make, *few], ['inspect', make[3]]]}:\n"
        "    sys.argv = ['lmd', *words]\n"
        "    try:\n        main()\n    except SystemExit as end:\n        assert not end.code, end.code"
    )
    assert not modules_after(code) & {"torch", "torchvision", "timm", "lightning_fabric"}


def test_help_answers_in_half_a_second() -> None:
    """Processor time, not the clock: other processes on the machine do not count."""

    def seconds() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    times = []
    for _ in range(5):
        before = seconds()
        done = subprocess.run([sys.executable, "-m", "lmd", "--help"], capture_output=True, text=True)
        times.append(seconds() - before)
        assert done.returncode == 0, done.stderr
        assert "prepare" in done.stdout
    assert statistics.median(times) < 0.5


# One version, and versions that are all pinned.


def test_the_version_stands_in_one_place() -> None:
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    assert importlib.metadata.version("lmd") == lmd.__version__


def test_changelog_and_citation_name_the_version() -> None:
    assert re.search(
        rf"^## {re.escape(lmd.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == lmd.__version__


def test_every_dependency_is_pinned() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    extras = PROJECT["optional-dependencies"].values()
    wanted = [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]
    names = {re.split(r"[^\w-]", text)[0].lower().replace("_", "-") for text in wanted}
    assert names <= set(pins)
    # torch pins its own CUDA libraries; those of Linux must not bind other platforms.
    assert not [name for name in pins if name.startswith(("nvidia-", "cuda-", "triton"))]
    assert not [version for version in pins.values() if "+" in version]


# The source files.


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_module_and_public_names_have_a_description(path: Path) -> None:
    tree = ast.parse(path.read_text())
    public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name[0] != "_"]
    assert ast.get_docstring(tree)
    assert [node.name for node in public if not ast.get_docstring(node)] == []


def test_files_are_of_one_subject() -> None:
    assert [name_of(path) for path in SOURCES if len(path.read_text().splitlines()) > 400] == []


RUNS_CODE = ("pickle", "dill", "cloudpickle", "joblib")


def unsafe(code: str) -> list[str]:
    """The places where a program could run what a file tells it to."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        found += [name for name in names if name.partition(".")[0] in RUNS_CODE]
        if isinstance(node, ast.Call):
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            call = ast.unparse(node.func)
            found += [call] if given.get("weights_only", "True") != "True" else []
            found += [call] if given.get("allow_pickle", "False") != "False" else []
            found += [call] if call in ("torch.load", "yaml.load", "eval", "exec") else []
    return found


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_is_loaded_that_could_run_code(path: Path) -> None:
    assert not unsafe(path.read_text())


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "load(f, weights_only=False)",
        "np.load(f, allow_pickle=True)",
        "torch.load(f)",
    ],
)
def test_the_search_for_unsafe_loading_finds_it(code: str) -> None:
    assert unsafe(code)


# docs/paper.md: equation -> function -> test -> setting.


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
        "| 4, \\|S\\| | `lmd.losses.relation:sample_relation` | `tests/test_house.py::name_of` "
        "| `stage1.ramp=linear` |\n"
        "\n| other | table |\n|---|---|\n| a | `b` |\n"
    )
    ((equation, functions, tests, settings),) = paper_rows(text)
    assert equation == "4, \\|S\\|"
    assert is_there(functions[0])
    assert find_test(tests[0])
    assert find_setting(settings[0], Settings)
    assert not is_there("lmd.losses.relation.no_such_function")
    assert not is_there("lmd.no_such_module.name")
    assert not find_test("tests/test_house.py::test_absent")
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
    assert [int(row[0]) for row in rows] == list(range(1, 26))
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row[5])]
    named += [name for row in rows_under("| Ablation |") for name in re.findall(r"`([^`]+)`", row[1])]
    assert [name for name in named if not find_setting(name, Settings)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").rglob("*.yaml")), ids=name_of)
def test_recipes_resolve(path: Path) -> None:
    from lmd import methods
    from lmd.settings import read_recipe, resolve

    tree = read_recipe(path)
    resolve(methods.load(tree.pop("method")).Settings, tree)
