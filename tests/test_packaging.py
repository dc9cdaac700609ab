"""What stands in packaging/: one set of bounds, an audit that never blocks, licences by their kind."""

from __future__ import annotations

import doctest
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

from lmd.version import __version__
from tests.test_house import PROJECT, ROOT

FOLDER = ROOT / "packaging"
# What conda-forge calls what the Python index calls otherwise.
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def loaded(name: str) -> ModuleType:
    """A script of the folder as a module."""
    spec = importlib.util.spec_from_file_location(f"packaging_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# The audit.


def answered(monkeypatch: pytest.MonkeyPatch, audit: ModuleType, answer: Any) -> None:
    """Lets pip-audit answer so, or raise that."""

    def run(words: list[str], **options: Any) -> SimpleNamespace:
        assert options["timeout"] <= 120
        assert words[words.index("--timeout") + 1] == "3"
        if isinstance(answer, BaseException):
            raise answer
        return SimpleNamespace(stdout=answer)

    monkeypatch.setattr(audit.subprocess, "run", run)
    monkeypatch.setattr(audit.importlib.util, "find_spec", lambda name: object())


def test_a_known_weakness_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weak = {"name": "jinja2", "version": "2.0", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}]}
    answered(monkeypatch, audit := loaded("audit"), json.dumps({"dependencies": [weak]}))
    assert audit.main() == 1
    assert capsys.readouterr().out == "jinja2 2.0: CVE-1; mended in 2.1\n"


def test_nothing_known_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sound = {"dependencies": [{"name": "jinja2", "version": "3.1", "vulns": []}]}
    answered(monkeypatch, audit := loaded("audit"), json.dumps(sound))
    assert audit.main() == 0
    assert capsys.readouterr().out == "dependency audit: nothing is known against 1 pinned packages\n"


@pytest.mark.parametrize("answer", ["", "Traceback", "{}", subprocess.TimeoutExpired("pip-audit", 120)])
def test_an_audit_without_a_network_is_one_line(
    answer: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answered(monkeypatch, audit := loaded("audit"), answer)
    assert audit.main() == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("dependency audit skipped: ")


def test_an_audit_without_its_tool_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = loaded("audit")
    monkeypatch.setattr(audit.importlib.util, "find_spec", lambda name: None)
    assert audit.main() == 0
    assert "pip-audit is not installed" in capsys.readouterr().out


def test_make_check_audits() -> None:
    check = (ROOT / "Makefile").read_text().partition("\ncheck:")[2].partition("\n\n")[0]
    assert "packaging/audit.py" in check


# Licences.


def test_licences_are_told_by_their_kind() -> None:
    licences = loaded("licences")
    assert doctest.testmod(licences).failed == 0
    kinds = {
        "GNU Lesser General Public License v3": "weak copyleft",
        "GNU General Public License v3 (GPLv3)": "copyleft",
        "AGPL-3.0-only": "copyleft",
        "GPL-2.0-only AND MIT": "copyleft",
        "Mozilla Public License 2.0 (MPL 2.0)": "weak copyleft",
        "Apache Software License": "permissive",
        "LicenseRef-NVIDIA-Proprietary": "NVIDIA's own",
        "not stated": "not known",
    }
    assert {text: licences.kind_of(text) for text in kinds} == kinds


def test_what_lmd_needs_has_no_strong_copyleft() -> None:
    found = {one.name: one for one in loaded("licences").found()}
    assert {"torch", "numpy", "pydicom", "typing-extensions"} <= set(found)
    assert "pytest" not in found
    assert [name for name, one in found.items() if one.kind == "copyleft"] == []
    page = (ROOT / "docs" / "install.md").read_text()
    weak = [name for name, one in found.items() if one.kind == "weak copyleft"]
    assert [name for name in weak if name not in page] == []


# The conda recipe and the images.


def test_the_conda_recipe_has_the_bounds_of_the_project() -> None:
    recipe = yaml.safe_load((FOLDER / "conda" / "recipe.yaml").read_text())
    assert recipe["context"] == {"version": __version__, "python_min": "3.11"}
    assert PROJECT["requires-python"] == ">=3.11"
    pairs = [re.split(r"(?=[><=])", text, maxsplit=1) for text in PROJECT["dependencies"]]
    wanted = {f"{CONDA.get(name, name)} {bound}" for name, bound in pairs}
    run = recipe["requirements"]["run"]
    assert wanted == set(run) - {"python >=${{ python_min }}"}
    extra = set(PROJECT["optional-dependencies"]["sr"])
    assert {text.replace(" ", "") for text in recipe["requirements"]["run_constraints"]} == extra


def test_the_conda_recipe_is_read_by_rattler_build() -> None:
    rattler = pytest.importorskip("rattler_build", reason="pip install py-rattler-build")
    rattler.Stage0Recipe.from_file(str(FOLDER / "conda" / "recipe.yaml")).render(rattler.VariantConfig())


def test_the_images_hold_what_they_copy_and_run_as_nobody() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    named = {
        word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for word in line.split()
    }
    assert {"src", "constraints.txt", "pyproject.toml"} <= named
    assert [name for name in named if not (ROOT / name).exists()] == []
    let_in = (FOLDER / "Dockerfile.dockerignore").read_text()
    assert [name for name in named if f"!{name}\n" not in let_in] == []
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    finals = [stage for stage in stages if re.match(r"base AS (cpu|cuda)", stage)]
    assert len(finals) == 2
    assert all("\nUSER 1000\n" in stage for stage in finals)
    extras = set(re.findall(r"\.whl\)\[([\w,]+)\]", text)[0].split(","))
    assert extras <= set(PROJECT["optional-dependencies"])


# The matrix.


def test_the_matrix_has_all_pythons_and_what_was_tried() -> None:
    matrix = loaded("matrix")
    known = json.loads(matrix.RESULT.read_text())["cells"]
    assert set(known) == {f"{python}:{kind}" for python in matrix.PYTHONS for kind in matrix.RESOLUTIONS}
    assert [name for name, cell in known.items() if cell["resolved"] != "yes"] == []
    tried = [name for name, cell in known.items() if cell.get("smoke") == "passed"]
    assert len(tried) >= 2
    page = (ROOT / "docs" / "install.md").read_text()
    assert [name for name in tried if name.partition(":")[0] not in page] == []


def test_the_oldest_are_asked_for_by_name() -> None:
    """A resolver takes the oldest only of what is named itself."""
    words = loaded("matrix").wanted(Path("/dist/lmd-1-py3-none-any.whl"))
    assert words[0] == "lmd @ file:///dist/lmd-1-py3-none-any.whl"
    assert words[1:] == PROJECT["dependencies"]


@pytest.mark.slow
def test_the_wheel_has_the_package_and_nothing_else(tmp_path: Path) -> None:
    wheel, sdist = loaded("matrix").built(tmp_path)
    names = zipfile.ZipFile(wheel).namelist()
    assert "lmd/py.typed" in names
    assert {name.partition("/")[0] for name in names} == {"lmd", f"lmd-{__version__}.dist-info"}
    assert sdist.stat().st_size < 10 * 2**20


def test_the_source_archive_leaves_out_what_is_large() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert build["wheel"]["packages"] == ["src/lmd"]
