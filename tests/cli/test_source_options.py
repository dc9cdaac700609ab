"""Options of sources: as the command reads them, as Python gives them, and what is said when they are wrong."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest
from PIL import Image
from pydantic import Field

import lmd as package
from lmd.cli.options import from_words, shown_options
from lmd.cli.prepare import source_first
from lmd.data.dataset import sources
from lmd.data.dataset.manifest import Dataset
from lmd.errors import SettingsError
from lmd.settings import Settings
from tests.command import Command, refused


class Options(Settings):
    """One option of each kind."""

    root: Path
    """folder of the images"""
    exclude: tuple[str, ...] = ()
    """names of files to pass over"""
    split_map: dict[str, str] = Field(default_factory=dict)
    """what the values of the split column mean"""
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    """shares; the sources' own options read their commas"""
    seed: Annotated[int, Field(ge=0)] = 42
    """seed"""
    kind: Literal["near", "far"] = "near"
    """which of the two"""
    ratio: Annotated[float, Field(gt=0)] | None = None
    """a ratio"""
    skip_bad: bool = False
    """leave out what is bad"""
    first: int = 1
    """where to begin"""


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """The options that a source took, in the place of the phantoms."""
    found: list[Options] = []

    def prepare(options: Options, out: Path, progress: Any = None) -> Dataset:
        found.append(options)
        raise SettingsError("taken")

    source = SimpleNamespace(TITLE="a source for tests", Options=Options, prepare=prepare)
    monkeypatch.setattr(sources, "load", lambda name: source)
    return found


def given(lmd: Command, taken: list[Options], *words: str) -> Options:
    refused(lmd("prepare", "phantom", "--out", "d", *words), "lmd: taken")
    return taken.pop()


def wrong(lmd: Command, *words: str) -> str:
    code, out, err = lmd("prepare", "phantom", "--out", "d", "--root", "r", *words)
    refused((code, out, err))
    assert "Input" not in err, "pydantic's words"
    assert "{" not in err, "all inputs"
    return err.removeprefix("lmd: ").removesuffix("\n")


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--exclude", "a", "--exclude", "b"], "exclude", ("a", "b")),
        (["--exclude=a,b"], "exclude", ("a,b",)),
        ([], "exclude", ()),
        (["--split-map", "0=train,1=test"], "split_map", {"0": "train", "1": "test"}),
        (["--split-map", "0=train", "--split_map=1 = test"], "split_map", {"0": "train", "1": "test"}),
        (["--split-map", "0=a=b"], "split_map", {"0": "a=b"}),
        (["--seed", "7"], "seed", 7),
        (["--seed=7"], "seed", 7),
        (["--kind", "far"], "kind", "far"),
        (["--ratio", "1e-3"], "ratio", 1e-3),
        (["--skip-bad"], "skip_bad", True),
        (["--skip_bad"], "skip_bad", True),
        (["--skip-bad=true"], "skip_bad", True),
        (["--skip-bad", "yes"], "skip_bad", True),
        (["--skip-bad=false"], "skip_bad", False),
        (["--skip-bad", "False"], "skip_bad", False),
        (["--no-skip-bad"], "skip_bad", False),
        (["--no_skip_bad"], "skip_bad", False),
        (["--skip-bad", "--no-skip-bad"], "skip_bad", False),
        ([], "skip_bad", False),
        (["--"], "seed", 42),
    ],
)
def test_what_is_given_is_taken(
    lmd: Command, taken: list[Options], words: list[str], name: str, value: Any
) -> None:
    assert getattr(given(lmd, taken, "--root", "r", *words), name) == value


def test_a_path_may_begin_with_a_dash_and_hold_an_equals_sign(lmd: Command, taken: list[Options]) -> None:
    assert given(lmd, taken, "--root", "-images").root == Path("-images")
    assert given(lmd, taken, "--root=a=b").root == Path("a=b")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rot", "x"], "prepare phantom has no option --rot; did you mean --root?"),
        (["--no-rot"], "prepare phantom has no option --no-rot"),
        (["-o", "x"], "prepare phantom has no option -o; did you mean --out?"),
        (["-x"], "prepare phantom has no option -x (see"),
        (["--seed", "abc"], "prepare phantom: --seed abc: must be a whole number"),
        (["--seed", "1.5"], "prepare phantom: --seed 1.5: must be a whole number"),
        (["--seed", "-3"], "prepare phantom: --seed -3: must be at least 0"),
        (["--ratio", "abc"], "prepare phantom: --ratio abc: must be a number"),
        (["--ratio", "0"], "prepare phantom: --ratio 0: must be more than 0"),
        (["--ratio", "nan"], "prepare phantom: --ratio nan: must be a finite number"),
        (["--kind", "fra"], "--kind fra: must be one of 'near' or 'far'; did you mean 'far'?"),
        (["--split-map", "0"], "--split-map 0: must be NAME=VALUE"),
        (["--split-map", "0=a,0=b"], "--split-map 0=b: '0' has the value 'a' already"),
        (["--seed", "1", "--seed", "1"], "prepare phantom: --seed is given twice"),
        (["--root", "b"], "prepare phantom: --root is given twice, the second time as b"),
        (["--skip-bad=maybe"], "--skip-bad takes no value, found 'maybe'; give --skip-bad or --no-skip-bad"),
        (["--no-skip-bad=true"], "--no-skip-bad takes no value, found 'true'"),
        (["--seed"], "prepare phantom: --seed needs a value, as in --seed N"),
        (["--seed", "--skip-bad"], "--seed needs a value, as in --seed N, found the option --skip-bad"),
        (["--seed="], "prepare phantom: --seed needs a value, found empty text"),
        (["--exclude", ""], "prepare phantom: --exclude needs a value, found empty text"),
        (["stray"], "unexpected argument 'stray': prepare phantom takes nothing but options"),
        (["--skip-bad", "maybe"], "unexpected argument 'maybe': prepare phantom takes nothing but options"),
        (["--", "--seed", "1"], "unexpected argument '--seed'"),
        ([""], "prepare phantom: an argument is empty text"),
    ],
)
def test_a_slip_is_answered_in_the_words_of_the_option(
    lmd: Command, taken: list[Options], words: list[str], message: str
) -> None:
    assert message in wrong(lmd, *words)
    assert taken == []


def test_what_is_missing_is_named_as_the_option_with_its_meaning(lmd: Command, taken: list[Options]) -> None:
    refused(
        lmd("prepare", "phantom", "--out", "d"), "prepare phantom needs --root DIR (folder of the images)"
    )
    refused(
        lmd("prepare", "phantom", "--root", "r"),
        "prepare phantom needs --out DIR (the dataset folder to make)",
    )
    refused(lmd("prepare", "phantom", "--root", "", "--out", "d"), "--root needs a value, found empty text")
    refused(lmd("prepare", "phantom", "--root", "r", "--out", ""), "--out needs a value, found empty text")


def test_the_source_may_stand_behind_its_options(lmd: Command, tmp_path: Path) -> None:
    words = ["--out", tmp_path / "d", "phantom", "--size", "16", "--images", "8", "--val-per-class", "1"]
    code, _, err = lmd("prepare", *words, "--test-per-class", "1", "--imbalance", "1")
    assert code == 0, err
    assert package.read_dataset(tmp_path / "d").counts("train").tolist() == [8] * 8


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("folder --root table", "folder --root table"),
        ("--root table folder --out d", "folder --root table --out d"),
        ("--root=table folder", "folder --root=table"),
        ("--skip-bad folder --root r", "folder --skip-bad --root r"),
        ("--help folder", "folder --help"),
        ("--root r", "--root r"),
        ("foldr --root table", "foldr --root table"),
        ("", ""),
    ],
)
def test_the_source_is_found_among_the_words(words: str, expected: str) -> None:
    assert source_first(words.split(), ["folder", "table"]) == expected.split()


def test_fractions_of_a_real_source(lmd: Command, tmp_path: Path) -> None:
    command = ["prepare", "folder", "--root", tmp_path, "--out", tmp_path / "d", "--fractions"]
    for value in ("0.5,0.5", "a,b,c", "0.7", "0.25,0.25,0.25,0.25", ",,"):
        refused(
            lmd(*command, value), f"prepare folder: --fractions {value}: must be three numbers", "0.7,0.1,0.2"
        )
    refused(lmd(*command, "0.5,0.5,0.5"), "--fractions 0.5,0.5,0.5:", "add up to 1")
    refused(lmd(*command, "-0.1,0.9,0.2"), "--fractions -0.1,0.9,0.2:")


def test_the_same_from_python(tmp_path: Path) -> None:
    def refusal(name: str = "folder", **options: Any) -> str:
        with pytest.raises(SettingsError) as caught:
            package.prepare(name, tmp_path / "d", **options)
        return str(caught.value)

    assert refusal(rot="x") == "source 'folder' has no option 'rot'; did you mean 'root'?"
    assert refusal().startswith("source 'folder' needs the option 'root'")
    assert refusal(root="x", seed="abc") == "source 'folder': seed = 'abc': must be a whole number"
    assert refusal(root="x", seed=1.5) == "source 'folder': seed = 1.5: must be a whole number"
    assert refusal(root="") == "source 'folder': root = '': must not be empty"
    assert refusal(root=3) == "source 'folder': root = 3: must be a path"
    assert refusal(root="x", skip_bad="maybe").endswith("skip_bad = 'maybe': must be true or false")
    assert "fractions = (0.5, 0.5): must be three numbers" in refusal(root="x", fractions=(0.5, 0.5))
    assert "fractions = 3: must be three numbers" in refusal(root="x", fractions=3)
    assert "folds = 1: must be at least 2" in refusal(root="x", folds=1)
    assert "split = 'lesoin': must be one of" in refusal(root="x", split="lesoin")


def test_lists_and_mappings_from_python() -> None:
    options = Options.model_validate({"root": "r", "exclude": ["a", "b"], "split_map": {"0": "train"}})
    assert options.exclude == ("a", "b")
    assert options.split_map == {"0": "train"}
    assert from_words(Options, {"exclude": ["a"], "split_map": ["0=x"], "seed": "1"}) == {
        "exclude": ["a"],
        "split_map": {"0": "x"},
        "seed": "1",
    }


def test_options_as_they_are_shown() -> None:
    shown = {option.name: option for option in shown_options(Options)}
    assert {name: option.metavar for name, option in shown.items()} == {
        "root": "DIR", "exclude": "TEXT", "split_map": "NAME=VALUE", "fractions": "X,X,X", "seed": "N",
        "kind": "near|far", "ratio": "X", "skip_bad": "", "first": "N",
    }  # fmt: skip
    assert shown["exclude"].help == "names of files to pass over; may be given again"
    assert [name for name, option in shown.items() if option.several] == ["exclude", "split_map"]
    assert [name for name, option in shown.items() if option.required] == ["root"]
    defaults = {name: option.default for name, option in shown.items() if option.default}
    assert defaults == {"fractions": "0.7,0.1,0.2", "seed": "42", "kind": "near", "first": "1"}


def test_images_are_prepared_with_a_flag_in_each_of_its_forms(lmd: Command, tmp_path: Path) -> None:
    """A flag that is said to be false must not be taken as given: bad images would go unnoticed."""
    for name in ("a", "b"):
        (tmp_path / "raw" / name).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "raw" / name / f"{name}{number}.png")
    (tmp_path / "raw" / "a" / "bad.png").write_bytes(b"no image")
    for number, (form, good) in enumerate(
        [(["--skip-bad=false"], False), (["--skip_bad"], True), (["--no-skip-bad"], False)]
    ):
        out = tmp_path / f"data{number}"
        code, _, err = lmd("prepare", "folder", "--root", tmp_path / "raw", "--out", out, *form)
        assert (code == 0) == good, err
        assert out.exists() == good
