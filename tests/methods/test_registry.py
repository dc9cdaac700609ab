"""Methods by name and by file: the list, the description, and one line for every way in which a file is wrong."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from lmd import methods
from lmd.data.dataset.manifest import Dataset
from lmd.errors import SettingsError
from lmd.fields import leaf_values
from lmd.settings import parse_override, resolve
from tests import toy
from tests.command import Command, refused

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_method.py"

TINY = [
    "--set", "encoder=test_resnet", "--set", "pretrained=false", "--set", "size=16", "--set", "batch=8",
    "--set", "stage1.epochs=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


# The list and the description.


def test_the_list_has_name_status_paper_and_title_in_columns(lmd: Command) -> None:
    code, out, _ = lmd("methods")
    assert code == 0
    head, *lines = out.splitlines()
    assert [line.split()[0] for line in lines] == methods.names()
    starts = [head.index(word) for word in ("status", "paper", "what")]
    for name, line in zip(methods.names(), lines, strict=True):
        method = methods.load(name)
        cells = (method.STATUS, method.PAPER, methods.title(method))
        assert [line.index(cell, start) for cell, start in zip(cells, starts, strict=True)] == starts


@pytest.mark.parametrize("name", [*methods.names(), str(EXAMPLE)], ids=lambda name: Path(name).stem)
def test_the_description_has_every_setting_as_set_would_write_it(name: str, lmd: Command) -> None:
    code, out, _ = lmd("methods", name, "--allow-code")
    assert code == 0
    method = methods.load(name)
    assert methods.title(method) == out.splitlines()[0]
    assert f"paper: {method.PAPER}" in out.splitlines()
    shown = re.findall(r"^  (\S+) = (.*?)(?:  \(.*\))?$", out, flags=re.MULTILINE)
    again = resolve(method.Settings, *(parse_override(f"{setting}={value}") for setting, value in shown))
    assert again == methods.settings_of(name)
    assert {setting for setting, _ in shown} == {setting for setting, _ in leaf_values(again.model_dump())}


def test_the_description_says_what_each_setting_is(lmd: Command) -> None:
    """A setting, its choices and its description; a group of them with its own, such as where the rate is from."""
    lines = lmd("methods", "lmd")[1].splitlines()
    place = lines.index("  m_step.solver = sampled  (sampled, exact)")
    assert lines[place + 1].startswith("      SGD on virtual features (paper)")
    place = lines.index("  m_step.optimisation")
    assert lines[place + 1].startswith("      SGD of the classifier (rate: paper, section 4.2;")
    assert max(map(len, lines)) <= 120


def test_a_preset_shows_its_own_values(lmd: Command) -> None:
    lines = lmd("methods", "lmd-code")[1].splitlines()
    assert "  e_step.batch_norm = train  (frozen, train)" in lines
    assert "  select = last  (val_margin, val_bacc, last)" in lines
    assert "  stage1.consistency_start = 21.0" in lines


# Unknown names, and recipes of other methods.


def test_unknown_methods(lmd: Command, dataset: Dataset, tmp_path: Path) -> None:
    refused(lmd("methods", "decuopling"), "unknown method 'decuopling'", "did you mean 'decoupling'")
    out = tmp_path / "run"
    for wrong, right in (("ldam_rs", "ldam-rs"), ("Focal", "focal"), ("bn-contrl", "bn-control")):
        refused(
            lmd("train", dataset.folder, "--method", wrong, "--out", out),
            f"'{wrong}'",
            f"did you mean '{right}'",
        )
    refused(lmd("train", dataset.folder, "--method", "", "--out", out, *TINY), "--method needs a value")
    for wrong in ("base", "_heads", "../ce", "lmd.methods.ce"):
        refused(lmd("train", dataset.folder, "--method", wrong, "--out", out, *TINY), "unknown method")
    assert not out.exists()


def test_a_recipe_for_another_method(lmd: Command, dataset: Dataset, tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    arguments = ("train", dataset.folder, "--out", out, "--recipe", recipe)
    recipe.write_text(yaml.safe_dump({"method": "decoupling", "stage2": {"variant": "lws"}}))
    refused(lmd(*arguments, "--method", "ce"), "is for method 'decoupling', not for 'ce'")
    recipe.write_text(yaml.safe_dump({"stage2": {"variant": "lws"}}))
    refused(lmd(*arguments, "--method", "ce"), "unknown setting 'stage2'")
    recipe.write_text("method: nonesuch")
    refused(lmd(*arguments), "unknown method 'nonesuch'")
    recipe.write_text("method: [ce]")
    refused(lmd(*arguments), "method", "['ce']")
    assert not out.exists()


# Files.


SOUND = EXAMPLE.read_text()


def test_a_file_that_was_changed_is_another_method(lmd: Command, dataset: Dataset, tmp_path: Path) -> None:
    file, out = tmp_path / "mine.py", tmp_path / "run"
    file.write_text(SOUND)
    train = ("train", dataset.folder, "--method", file, "--out", out, *TINY)
    assert lmd(*train)[0] == 0
    assert lmd(*train, "--resume")[0] == 0
    file.write_text(SOUND + "\n# a better idea\n")
    refused(lmd(*train, "--resume"), "the method's file has changed")


@pytest.mark.parametrize("part", ["Settings", "stages", "BUDGETS", "PAPER", "STATUS"])
def test_a_file_that_lacks_a_part(part: str, lmd: Command, dataset: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SOUND + f"\n\ndel {part}\n")
    refused(
        lmd("train", dataset.folder, "--method", file, "--out", tmp_path / "run"),
        str(file),
        f"has no '{part}'",
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def stages(:\n", ["line 1", "SyntaxError"]),
        ("import nonesuch_module\n", ["line 1", "ModuleNotFoundError", "nonesuch_module"]),
        ("\n\nx = 1 / 0\n", ["line 3", "ZeroDivisionError"]),
        ("def f():\n    raise ValueError('first\\nsecond')\n\nf()\n", ["line 2", "ValueError: first second"]),
        ("import sys\nsys.exit(3)\n", ["line 2", "SystemExit"]),
        ("x = '\udc80'\n", ["SyntaxError"]),
        (SOUND + "\nSettings = dict\n", ["Settings must be a subclass of lmd.settings.CommonSettings"]),
        (SOUND + "\nSettings = Settings()\n", ["Settings must be a subclass"]),
        (SOUND + "\nstages = 3\n", ["stages must be a function"]),
        (SOUND + "\nBUDGETS = ['short']\n", ["BUDGETS must map"]),
        (SOUND.replace("power: Fraction = 0.5", "power: Nonesuch = 0.5"), ["Nonesuch"]),
    ],
)
def test_a_file_that_is_wrong(
    code: str, words: list[str], lmd: Command, dataset: Dataset, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_bytes(code.encode(errors="surrogateescape"))
    for arguments in (
        ("methods", file, "--allow-code"),
        ("train", dataset.folder, "--method", file, "--out", tmp_path / "run"),
    ):
        refused(lmd(*arguments), str(file), *words)
    assert not (tmp_path / "run").exists()
    assert not [
        name
        for name in sys.modules
        if name.startswith("lmd_method_") and sys.modules[name].__file__ == str(file)
    ]


def test_the_line_is_told_for_a_path_that_is_relative(
    lmd: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the method's own file, also where the error is in another that it imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("mine.py").write_text("\n\nimport broken_part_of_mine\n")
    Path("broken_part_of_mine.py").write_text("\n\n\n\n)\n")
    refused(lmd("methods", "mine.py", "--allow-code"), "method file mine.py, line 3 fails: SyntaxError")
    Path("mine.py").write_text("\n)\n")
    refused(lmd("methods", "./mine.py", "--allow-code"), "method file mine.py, line 2 fails: SyntaxError")


def test_files_that_are_not_there(lmd: Command, tmp_path: Path) -> None:
    refused(lmd("methods", tmp_path / "none.py"), "no method file", "none.py", "No such file")
    (tmp_path / "folder.py").mkdir()
    refused(lmd("methods", tmp_path / "folder.py"), "no method file", "folder.py")


def test_a_file_is_read_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SOUND)
    first = methods.load(str(file), allow_code=True)
    assert methods.load(str(file)) is first
    file.write_text(SOUND.replace('STATUS = "example"', 'STATUS = "changed"'))
    assert methods.load(str(file), allow_code=True).STATUS == "changed"


def test_a_mistaken_setting_of_a_file(lmd: Command, dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ("train", dataset.folder, "--method", EXAMPLE, "--out", out, *TINY)
    refused(lmd(*arguments, "--set", "stage1.pover=1"), "did you mean 'stage1.power'")
    refused(lmd(*arguments, "--set", "stage1.power=2"), "stage1.power = 2")
    assert not out.exists()


def test_a_file_trains_resumes_and_evaluates_by_the_command(
    lmd: Command, dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    code, _, err = lmd(
        "train", dataset.folder, "--method", EXAMPLE, "--out", out, *TINY, "--set", "stage1.power=0.25"
    )
    assert code == 0, err
    assert "power: 0.25" in (out / "settings.yaml").read_text()
    assert lmd("train", dataset.folder, "--method", EXAMPLE, "--out", out, "--resume")[0] == 0
    assert lmd("evaluate", out)[0] == 0


def test_from_by_the_command(lmd: Command, dataset: Dataset, tmp_path: Path) -> None:
    first, second = tmp_path / "ce", tmp_path / "crt"
    assert lmd("train", dataset.folder, "--method", "ce", "--out", first, *TINY)[0] == 0
    tiny = [*TINY, "--set", "stage2.epochs=1"]
    arguments = ("train", dataset.folder, "--method", "decoupling", "--out", second)
    refused(lmd(*arguments, *tiny, "--from", tmp_path / "none"), "none", "no such run")
    refused(lmd(*arguments, *tiny, "--set", "size=24", "--from", first), "--from", "size = 16", "24")
    refused(
        lmd("train", dataset.folder, "--method", "ce", "--out", second, *TINY, "--from", first), "one stage"
    )
    assert not second.exists()
    code, out, _ = lmd(*arguments, *tiny, "--from", first)
    assert code == 0
    assert "stage1" not in out
    assert lmd("train", dataset.folder, "--out", second, "--resume")[0] == 0


def test_names_are_those_of_the_files() -> None:
    package = Path(methods.__file__).parent
    files = {
        file.stem for file in package.glob("*.py") if not file.stem.startswith("_") and file.stem != "base"
    }
    assert {name.replace("-", "_") for name in methods.names()} == files
    with pytest.raises(SettingsError, match="unknown budget 'shrot'; did you mean 'short'"):
        methods.budget(methods.load("ce"), "shrot")
