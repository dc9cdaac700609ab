"""Help: on several lines of at most 80 columns, with the meaning, default and choices of every option."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from typing import get_type_hints

import pytest
from typer.models import ArgumentInfo

from lmd import methods
from lmd.cli import compare, data, features, paper, prepare, report, runs, serve, training, tune  # noqa: F401
from lmd.cli.app import app
from lmd.cli.names import BUDGETS, SPLITS, names_in
from lmd.cli.options import shown_options
from lmd.cli.verbs import Verbs
from lmd.data.dataset import sources
from lmd.data.dataset.checks import SPLITS as KNOWN_SPLITS
from tests.command import Command, child_seconds, refused


def in_a_process(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "lmd", *words], capture_output=True, text=True)


def options_in(page: str) -> dict[str, str]:
    """Each option of a page of help and what it says of it, on one line."""
    _, _, part = page.partition("\nOptions:\n")
    entries = re.split(r"\n  (?=-)", "\n" + part.partition("\n\n")[0])[1:]
    return {re.findall(r"--[\w-]+", entry)[0]: " ".join(entry.split()) for entry in entries}


def test_without_a_verb_there_is_the_help_and_the_exit_code_of_a_wrong_call(lmd: Command) -> None:
    code, out, err = lmd()
    assert code == 2
    assert err == ""
    assert len(out.splitlines()) > 15
    assert out.startswith("Usage: lmd VERB ...\n")
    assert lmd("--help") == (0, out, "")


def test_no_option_leaves_its_name_to_its_metavar() -> None:
    """Of `run` with the metavar RUN typer 0.27 made --RUN, and `lmd embed --run` was unknown."""
    seen = 0
    for command in app.registered_commands:
        assert command.callback is not None
        for name, hint in get_type_hints(command.callback, include_extras=True).items():
            for info in getattr(hint, "__metadata__", ()):
                seen += 1
                alike = (info.metavar or "").lower() == name and not isinstance(info, ArgumentInfo)
                assert not alike or info.default == f"--{name}", (command.callback, name)
    assert seen > 50


@pytest.mark.parametrize("words", [["-h"], ["help"]])
def test_help_can_be_asked_for_in_other_words(lmd: Command, words: list[str]) -> None:
    assert lmd(*words) == lmd("--help")


def test_the_help_lists_each_verb_on_one_line(lmd: Command) -> None:
    lines = lmd("--help")[1].partition("Verbs:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines] == list(Verbs.ORDER)
    assert not [line for line in lines if line.endswith("...") or len(line) > 80]


@pytest.mark.parametrize(
    "words", [["--out", "--help"], ["--methd", "ce", "-h"], ["D", "E", "--seed", "a", "--help"]]
)
def test_help_may_be_asked_for_at_the_end_of_a_wrong_line(lmd: Command, words: list[str]) -> None:
    assert lmd("train", *words) == lmd("train", "--help")
    refused(lmd("train", "--", "--help"), "train needs --out")


@pytest.mark.parametrize("verb", Verbs.ORDER)
def test_the_help_of_a_verb(lmd: Command, verb: str) -> None:
    code, out, err = lmd(verb, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: lmd {verb}")
    assert max(map(len, out.splitlines())) <= 80
    assert "<" not in out.replace("<split>", "")  # Types such as <path> are for programmers.
    assert lmd("help", verb)[1] == lmd(verb, "-h")[1] == out


def test_defaults_choices_and_what_is_needed_are_shown(lmd: Command) -> None:
    train = options_in(lmd("train", "--help")[1])
    assert train["--out"] == "--out DIR the run folder to make [required]"
    assert train["--budget"].startswith("--budget auto|smoke|short|paper ")
    assert "auto is a plan for these data and this machine (default of train)" in train["--budget"]
    assert options_in(lmd("reproduce", "--help")[1])["--budget"].endswith("[default: paper]")
    assert train["--set"].endswith("may be given again")
    assert all(name in train["--method"] for name in methods.names())
    assert "(default: lmd)" in train["--method"]
    evaluate = options_in(lmd("evaluate", "--help")[1])
    assert evaluate["--split"].startswith("--split train|val|test ")
    assert evaluate["--split"].endswith("[default: test]")
    assert options_in(lmd("inspect", "--help")[1])["--near"].endswith("0 to 64 [default: 36]")
    assert "\nUsage: lmd train DATA --out DIR [OPTIONS]\n" in "\n" + lmd("train", "--help")[1]


def test_choices_and_names_in_the_help_are_those_that_are_known() -> None:
    assert BUDGETS.split("|") == list(methods.BUDGETS)
    assert SPLITS.split("|") == list(KNOWN_SPLITS)
    assert names_in("methods") == methods.names()
    assert names_in("data", "dataset", "sources") == sources.names()


def test_prepare_lists_the_sources(lmd: Command) -> None:
    code, out, _ = lmd("prepare", "--help")
    assert code == 0
    assert "Usage: lmd prepare SOURCE --out DIR [OPTIONS]" in out
    for name in sources.names():
        first = sources.load(name).TITLE.split(",")[0].split("(")[0].strip()
        assert re.search(rf"^  {name} +{re.escape(first)}", out, re.MULTILINE)
    refused(lmd("prepare"), "prepare needs a SOURCE", *sources.names())
    refused(lmd("prepare", "--out", "d"), "prepare needs a SOURCE")


def test_titles_of_sources_fit_a_line() -> None:
    assert [name for name in sources.names() if len(sources.load(name).TITLE) > 64] == []


@pytest.mark.parametrize("name", sources.names())
def test_every_option_of_every_source_is_described(name: str) -> None:
    fields = sources.load(name).Options.model_fields
    bare = [option for option, field in fields.items() if not (field.description or "").strip()]
    assert bare == []


@pytest.mark.parametrize("name", sources.names())
def test_the_help_of_a_source(lmd: Command, name: str) -> None:
    code, out, err = lmd("prepare", name, "--help")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert f"lmd prepare {name} --" in out.partition("\nExample")[2]
    found = options_in(out)
    shown = [option for option in shown_options(sources.load(name).Options) if not option.hidden]
    assert set(found) == {option.flag for option in shown} | {"--out", "--help"}
    for option in shown:
        assert found[option.flag].startswith(f"{option.flag} {option.metavar}".strip())
        assert ("[required]" in found[option.flag]) == option.required
        assert option.help in found[option.flag]
    for words in (["prepare", "--help", name], ["help", "prepare", name], ["sources", name]):
        assert lmd(*words)[1] == out


def test_what_the_help_says_of_some_options(lmd: Command) -> None:
    found = options_in(lmd("prepare", "isic2019", "--help")[1])
    assert found["--root"].startswith("--root DIR folder of the challenge's download")
    assert found["--split"].startswith("--split image|group|lesion|paper ")
    assert found["--split"].endswith("[default: lesion]")
    assert found["--fractions"].startswith("--fractions X,X,X ")
    assert found["--fractions"].endswith("[default: 0.7,0.1,0.2]")
    assert found["--seed"] == "--seed N seed of every random draw [default: 42]"
    assert found["--frame"].startswith("--frame N ")
    assert found["--frame"].endswith("(at least 1)")
    assert found["--skip-bad"].startswith("--skip-bad leave out ")
    kvasir = options_in(lmd("prepare", "hyper-kvasir", "--help")[1])
    assert kvasir["--folds"].startswith("--folds N|FILE number of folds")
    assert kvasir["--labels"].startswith("--labels FILE file image-labels.csv")
    phantom = options_in(lmd("prepare", "phantom", "--help")[1])
    assert phantom["--size"] == "--size N pixels of each side of an image (16 to 512) [default: 64]"
    assert "--fractions" not in phantom  # It is always refused.


def test_the_sources_are_listed_with_their_options(lmd: Command) -> None:
    code, out, _ = lmd("sources")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert len(out.splitlines()) <= 4 * len(sources.names())
    for name in sources.names():
        assert re.search(rf"^{name} ", out, re.MULTILINE)
    medmnist = out.partition("medmnist")[2].splitlines()[1]
    assert medmnist.split() == ["--name", "--size", "--root"]


def test_help_is_plain_text_on_stdout_and_an_error_on_stderr() -> None:
    done = in_a_process("prepare", "phantom", "--help")
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    done = in_a_process("trian")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("lmd: lmd has no verb 'trian'; did you mean 'train'?")


def test_the_help_of_a_source_takes_about_a_second() -> None:
    """Processor time, not the clock: other processes on the machine do not count."""

    times = []
    for _ in range(3):
        before = child_seconds()
        assert in_a_process("prepare", "folder", "--help").returncode == 0
        times.append(child_seconds() - before)
    assert statistics.median(times) < 1.5  # Most of it is pandas.
