"""What holds for the whole project: light imports, one version, safe loading, documents that are true."""

from __future__ import annotations

import ast
import graphlib
import importlib.metadata
import re
import resource
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

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
    assert [name_of(path) for path in SOURCES if len(path.read_text().splitlines()) > 250] == []


def lines_of_functions() -> list[int]:
    """The lines of each function, its signature counted and its docstring not."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                first = node.body[0]
                told = (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(node) else 0
                found.append((node.end_lineno or 0) - node.lineno + 1 - told)
    return sorted(found)


def test_functions_are_short() -> None:
    lines = lines_of_functions()
    assert statistics.median(lines) <= 7
    assert lines[int(0.9 * len(lines))] <= 16


def test_no_import_goes_round() -> None:
    """Imports inside of functions count, too."""
    graph = grimp.build_graph("lmd")
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert len(imports) == len(SOURCES)
    list(graphlib.TopologicalSorter(imports).static_order())  # It raises CycleError.


def setting_names_of_methods() -> set[str]:
    from lmd import methods
    from lmd.fields import setting_names

    return {name for method in methods.names() for name in setting_names(methods.load(method).Settings)}


def test_losses_name_no_setting() -> None:
    """The stage that calls a loss adds the advice."""
    dotted = {name for name in setting_names_of_methods() if "." in name}
    assert "statistics.ridge" in dotted
    text = {path: path.read_text() for path in SOURCES if "losses" in path.parts}
    assert len(text) > 10
    wrong = [(name_of(path), name) for path, code in text.items() for name in dotted if name in code]
    wrong += [(name_of(path), "SettingsError") for path, code in text.items() if "SettingsError" in code]
    assert wrong == []


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
            found += [call] if call in ("yaml.load", "eval", "exec") else []
            found += [call] if call == "torch.load" and given.get("weights_only") != "True" else []
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


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").rglob("*.yaml")), ids=name_of)
def test_recipes_resolve(path: Path) -> None:
    from lmd.planning.choice import Asked, choose

    choose(Asked(recipe=path))
