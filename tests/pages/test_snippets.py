"""Every code block of the pages runs, on drawn images and tiny networks; what cannot run names what exists."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from matplotlib.figure import Figure

import lmd
from lmd.models import encoder, sources
from lmd.planning import plan, rules
from tests.pages.blocks import PAGES, Block, Typed, blocks_of, commands, hidden_commands, pages
from tests.pages.exempt import CANNOT, CANNOT_IN_PYTHON, ELSEWHERE, reason, wrong_in
from tests.pages.playing import Place
from tests.pages.world import BEFORE, EVERYWHERE, build
from tests.test_api import SNIPPETS, meaning, run_block
from tests.test_pages import SETTINGS
from tests.test_words import ROOT, name_of

KINDS = {"sh", "python", "text", "yaml"}
BLOCKS = pages()


def typed(line: str) -> Typed:
    return commands(Block("", 0, "sh", line))[0]


def of_kind(page: str, kind: str) -> list[Block]:
    return [block for block in BLOCKS[page] if block.kind == kind]


class Given(NamedTuple):
    """A folder with what pages take as given, what is known of it, and where results are kept."""

    folder: Path
    state: dict[str, str]
    kept: Path


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """Drawn files, a data set and a run that has been planned, measured and drawn in full."""
    folder, kept = tmp_path_factory.mktemp("pages"), tmp_path_factory.mktemp("kept")
    place = Place(kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(build(folder))
        for line in EVERYWHERE:
            place.run(typed(line))
    return Given(folder, place.state, kept)


@pytest.fixture
def place(given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The current folder has it all; nothing is downloaded, plans are short, and further figures are empty."""
    for path in given.folder.iterdir():
        if path.name in ("DATA", "RUN"):
            shutil.copytree(path, tmp_path / path.name)
        else:
            (tmp_path / path.name).symlink_to(path)
    obtain = sources.obtain
    monkeypatch.setattr(encoder, "obtain", lambda name, pretrained, weights: obtain(name, False, weights))
    monkeypatch.setattr(rules, "FEWEST_STEPS", 20)
    monkeypatch.setattr(plan, "rehearse", lambda outline: None)
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: file.write("<svg></svg>"))
    monkeypatch.chdir(tmp_path)
    place = Place(given.kept)
    place.state |= given.state
    return place


def commands_of(page: str) -> list[Typed]:
    return [command for block in of_kind(page, "sh") for command in commands(block)]


def is_slow(page: str) -> bool:
    """Whether a page trains what other tests or pages train, too: its commands run in full in `make slow`."""
    return page.startswith("docs/methods/") or page in ("docs/compare.md", "docs/which-method.md")


SHELL = [page for page in BLOCKS if of_kind(page, "sh")]


def by_speed(pages: list[str]) -> list[Any]:
    """The pages, the slow ones marked."""
    return [pytest.param(page, marks=pytest.mark.slow if is_slow(page) else ()) for page in pages]


@pytest.mark.parametrize("page", by_speed(SHELL))
def test_the_commands_of_a_page_run(page: str, place: Place) -> None:
    for line in BEFORE.get(page, []):
        place.run(typed(line))
    for command in commands_of(page):
        if reason(command) is None:
            place.run(command)
        else:
            assert wrong_in(command) is None, f"{page}:{command.line}: {command.text}"


@pytest.mark.parametrize("page", list(filter(is_slow, SHELL)))
def test_the_trainings_of_a_method_are_planned(page: str, place: Place) -> None:
    """Method, options and settings are those of the page; what another run has to be there for is parsed alone."""
    for command in commands_of(page):
        if command.text.startswith("lmd train DATA") and "--from" not in command.words:
            place.run(Typed(page, command.line, (*command.words, "--dry-run")))
        else:
            assert wrong_in(command) is None, f"{page}:{command.line}: {command.text}"


# Python.


def run_elsewhere(block: Block) -> bool:
    """Whether another test runs a block: that of its page, or that of docs/api.md if it has the same block."""
    known = {meaning(other) for other in SNIPPETS["docs/api.md"]}
    return block.page in ELSEWHERE or meaning(block) in known  # type: ignore[arg-type]


def exempt(block: Block) -> bool:
    return any(page == block.page and words in block.code for page, words in CANNOT_IN_PYTHON)


PYTHON = [page for page in BLOCKS if not all(map(run_elsewhere, of_kind(page, "python")))]


@pytest.mark.parametrize("page", by_speed(PYTHON))
def test_the_python_of_a_page_runs(page: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in BEFORE.get(page, []):
        place.run(typed(line))
    torch.save({"model": {"conv.weight": torch.ones(2)}}, "x.pth")
    monkeypatch.setattr(sys, "argv", ["convert.py", "x.pth", "x.safetensors"])
    names: dict[str, Any] = {"lmd": lmd}
    for block in of_kind(page, "python"):
        if exempt(block):
            assert wrong_calls(block.code) == []
        else:
            run_block(block, names, page)  # type: ignore[arg-type]


def wrong_calls(code: str) -> list[str]:
    """The calls of functions of lmd that do not exist, or do not take these arguments."""
    wrong = []
    for call in [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]:
        name = ast.unparse(call.func)
        if name.startswith("lmd."):
            try:
                function = pkgutil.resolve_name(name)
                inspect.signature(function).bind(*call.args, **{word.arg or "": 0 for word in call.keywords})
            except (AttributeError, TypeError) as error:
                wrong.append(f"{name}: {error}")
    return wrong


# The rest, and the lists themselves.


@pytest.mark.parametrize("page", BLOCKS)
def test_a_block_says_what_it_is_written_in(page: str) -> None:
    assert [(block.line, block.kind) for block in BLOCKS[page] if block.kind not in KINDS] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_command_hides_outside_of_the_fences(page: Path) -> None:
    assert hidden_commands(page.read_text()) == []


def test_settings_in_yaml_exist() -> None:
    blocks = [block for page in BLOCKS for block in of_kind(page, "yaml")]
    assert blocks
    assert {name for block in blocks for name in yaml.safe_load(block.code)} <= SETTINGS


def test_a_page_that_is_left_to_another_test_is_named_there() -> None:
    for page, test in ELSEWHERE.items():
        assert Path(page).name in (ROOT / test).read_text()


def test_the_lists_of_what_cannot_run_hold_nothing_that_is_not_shown() -> None:
    shown = [command.text for page in BLOCKS for block in of_kind(page, "sh") for command in commands(block)]
    assert [begins for begins in CANNOT if not any(re.match(begins, text) for text in shown)] == []
    assert set(BEFORE) <= set(BLOCKS)


def test_blocks_and_commands_are_found() -> None:
    text = "Words\n```sh\nlmd a b  # c\n\nlmd d \\\n  'e f'\n```\n- item\n\n  ```python\n  x = 1\n  ```\n```{toctree}\na\n```\n"
    shell, python = blocks_of(text, "p.md")
    assert [(found.line, found.words) for found in commands(shell)] == [
        (3, ("lmd", "a", "b")),
        (5, ("lmd", "d", "e f")),
    ]
    assert (python.kind, python.code, python.line) == ("python", "x = 1\n", 10)
    assert hidden_commands("```sh\nlmd a\n```\n\n    lmd train DATA\n    x\n\n    y = lmd\n") == [
        "lmd train DATA"
    ]


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("lmd demo --out D", None),
        ("lmd demo --uot D", "--uot"),
        ("lmd dmeo", "no verb 'dmeo'"),
        ("lmd prepare medmnist --name dermamnist --out D", None),
        ("lmd prepare medmnist --nmae dermamnist --out D", "--nmae"),
        ("lmd train D --devices 4 --out R", None),
        ("torchrun -m lmd train D --metod lmd --out R", "--metod"),
        ("make test", None),
        ("make tset", "no make tset"),
        ("python -m benchmarks.scale_data --work W", None),
        ("python -m benchmarks.scale_date", "no module benchmarks.scale_date"),
        ("python -m benchmarks.scale_data --wrok W", "benchmarks.scale_data has no --wrok"),
        ("pip install -e '.[dicom]'", None),
        ("pip install -e '.[diocm]'", "no extra diocm"),
        ("python -m pytest tests/none.py", "no file tests/none.py"),
    ],
)
def test_what_does_not_exist_is_found(line: str, wrong: str | None) -> None:
    found = wrong_in(typed(line))
    assert found is None if wrong is None else wrong in (found or "")


def test_calls_of_what_does_not_exist_are_found() -> None:
    assert wrong_calls('lmd.tune("D", ["ce"], trials=3, out="O")\nprint(1)') == []
    assert len(wrong_calls('lmd.tnue("D")\nlmd.tune("D", ["ce"], trails=3, out="O")')) == 2
