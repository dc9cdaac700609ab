"""What messages and pages say of installing an extra works: lmd is on no package index."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from lmd.errors import how_to_install

ROOT = Path(__file__).parents[2]
INDEX = re.compile(r"install ['\"]?lmd\b")


def test_nothing_says_to_install_lmd_from_an_index() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]
    texts = {page.relative_to(ROOT).as_posix(): page.read_text() for page in pages}
    found = {name for name, text in texts.items() if INDEX.search(text) and name != "CHANGELOG.md"}
    assert found == set()


@pytest.mark.parametrize("extra", ["dicom", "medmnist", "tables", "efficientnet-lite0"])
def test_the_command_is_of_this_python_and_of_an_extra_that_there_is(extra: str) -> None:
    assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    place, _, command = how_to_install(extra).partition(" run ")
    assert place == "in the folder of the clone"
    assert shlex.split(command) == [sys.executable, "-m", "pip", "install", "-e", f".[{extra}]"]


def test_the_environment_that_make_sets_up_has_pip() -> None:
    """uv leaves it out unless it is told to."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    assert [line for line in lines if "uv venv" in line and "--seed" not in line] == []
