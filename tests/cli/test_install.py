"""What messages and pages say of installing an extra works: lmd is on no package index."""

from __future__ import annotations

import json
import re
import shlex
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lmd import extras
from lmd.extras import how_to_install

ROOT = Path(__file__).parents[2]
INDEX = re.compile(r"install ['\"]?lmd\b")


def test_nothing_says_to_install_lmd_from_an_index() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]
    texts = {page.relative_to(ROOT).as_posix(): page.read_text() for page in pages}
    found = {name for name, text in texts.items() if INDEX.search(text) and name != "CHANGELOG.md"}
    assert found == set()


def installed(monkeypatch: pytest.MonkeyPatch, said: dict[str, Any] | None) -> None:
    """Has lmd look as if pip had installed it in this way; `said` is what direct_url.json says."""
    text = None if said is None else json.dumps(said)
    found = SimpleNamespace(version="1.2.3", read_text=lambda name: text)
    monkeypatch.setattr(extras, "distribution", lambda name: found)


@pytest.mark.parametrize("extra", ["dicom", "medmnist", "tables", "efficientnet-lite0"])
def test_the_command_is_of_this_python_and_of_an_extra_that_there_is(
    extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, {"url": "file:///clone", "dir_info": {"editable": True}})
    assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    place, _, command = how_to_install(extra).partition(" run ")
    assert place == "in the folder of the clone"
    assert shlex.split(command) == [sys.executable, "-m", "pip", "install", "-e", f".[{extra}]"]


def told(monkeypatch: pytest.MonkeyPatch, said: dict[str, Any] | None) -> str:
    """What is to be installed, by the command that a message names."""
    installed(monkeypatch, said)
    start, *words, what = shlex.split(how_to_install("dicom"))
    assert (start, words) == ("run", [sys.executable, "-m", "pip", "install"])
    return what


@pytest.mark.parametrize("made", [{"archive_info": {}}, {"dir_info": {}}])
def test_what_was_installed_from_a_wheel_or_a_folder_takes_it_again(
    made: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "a b" / "lmd-1.2.3-py3-none-any.whl"
    place.mkdir(parents=True)
    assert told(monkeypatch, {"url": place.as_uri(), **made}) == f"{place}[dicom]"


@pytest.mark.parametrize(
    "said",
    [
        None,
        {"url": "file:///gone/lmd-1.2.3-py3-none-any.whl", "archive_info": {}},
        {"url": "https://example.org/lmd-1.2.3-py3-none-any.whl", "archive_info": {}},
    ],
)
def test_what_was_installed_from_elsewhere_is_named_with_its_version(
    said: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pip takes the version that is there, and asks no index for another project of that name."""
    assert told(monkeypatch, said) == "lmd[dicom]==1.2.3"


def test_the_environment_that_make_sets_up_has_pip() -> None:
    """uv leaves it out unless it is told to."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    assert [line for line in lines if "uv venv" in line and "--seed" not in line] == []
