"""Signals sent to real processes: exit codes, the way on as a command to paste, and what is left on the disk."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import yaml

from lmd import stopping
from lmd.cli import stopped
from lmd.parallel import in_threads, streamed
from tests import toy
from tests.command import Command
from tests.processes import process

LONG = {**toy.COMMON, "stage1": {"epochs": 100000}}


def command(folder: Path, words: list[str]) -> None:
    """Runs the command in a folder, with its errors in the file `told`."""
    from lmd import cli

    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # A shell may have begun the tests with it ignored.
    os.chdir(folder)
    os.dup2(os.open("told", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    sys.argv = ["lmd", *words]
    cli.main()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    toy.make_dataset(folder)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(LONG))
    return folder


def after(folder: Path, words: list[str], path: Path, number: int, times: int = 1) -> tuple[int | None, str]:
    """Sends a signal once a path is there; returns the exit code and the last line on stderr."""
    started: BaseProcess = process(command, folder, words)
    end = time.monotonic() + 90
    while not path.exists():
        assert time.monotonic() < end, (folder / "told").read_text()
        time.sleep(0.01)
    for _ in range(times):
        os.kill(started.pid or 0, number)
    started.join(60)
    told = (folder / "told").read_text()
    assert "Traceback" not in told
    return started.exitcode, told.splitlines()[-1]


TRAIN = ["train", "data", "--method", "ce", "--recipe", "recipe.yaml", "--out"]


@pytest.mark.parametrize(
    ("number", "code", "told", "times"),
    [
        (signal.SIGINT, 130, "interrupted", 1),
        (signal.SIGTERM, 75, "stopped by SIGTERM", 2),  # `timeout` sends it twice.
        (signal.SIGUSR1, 0, "stopped by SIGUSR1", 1),
    ],
)
def test_a_training_keeps_its_last_epoch_and_says_how_to_go_on(
    place: Path, number: int, code: int, told: str, times: int
) -> None:
    run = place / f"run-{number}"
    found = after(place, [*TRAIN, run.name], run / "metrics.jsonl", number, times)
    on = f"lmd train data --resume --out {run.name}"
    assert found == (code, f"lmd: {told}; the last finished epoch is kept; go on with: {on}")
    before = (run / "metrics.jsonl").read_text()
    assert before
    assert {path.name for path in run.iterdir()} == {
        "settings.yaml", "environment.json", "metrics.jsonl", "model", "checkpoint",
    }  # fmt: skip
    words = shlex.split(on)[1:]
    (run / "metrics.jsonl").unlink()  # The checkpoint has its lines.
    assert after(place, words, run / "metrics.jsonl", number)[0] == code
    assert (run / "metrics.jsonl").read_text().startswith(before)


def test_before_its_first_epoch_a_training_is_started_again_by_the_same_words(place: Path) -> None:
    found = after(place, [*TRAIN, "early"], place / "early" / ".lock", signal.SIGINT)
    if not (place / "early" / "checkpoint" / "state.safetensors").exists():
        assert found[0] == 130
        assert found[1].startswith("lmd: interrupted; go on with: lmd train data")
        assert "--resume" in found[1]


@pytest.mark.parametrize(
    ("verb", "number", "code"),
    [
        ("train", signal.SIGINT, 130), ("train", signal.SIGTERM, 75), ("train", signal.SIGUSR1, 0),
        ("reproduce", signal.SIGUSR1, 0), ("demo", signal.SIGUSR1, 0),
        ("evaluate", signal.SIGUSR1, 75), ("predict", signal.SIGTERM, 75), ("prepare", signal.SIGINT, 130),
    ],
)  # fmt: skip
def test_exit_codes(verb: str, number: int, code: int) -> None:
    """A verb that begins anew does not count as done."""
    stopped.remember(verb, {})
    assert stopped.exit_code(number) == code


def test_a_method_of_ones_own_is_named_again(tmp_path: Path) -> None:
    words = ["train", "data", "--method", "mine.py", "--out", str(tmp_path / "run")]
    stopped.remember("train", {"data": "data", "out": tmp_path / "run"})
    assert stopped.message(signal.SIGINT, words).endswith(f"go on with: lmd {shlex.join(words)} --resume")


def test_other_verbs_start_again(lmd: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lmd.data.dataset.sources import phantom

    def interrupted(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(phantom, "prepare", interrupted)
    code, _, err = lmd("prepare", "phantom", "--out", tmp_path / "a b")
    assert (code, err) == (
        75, f"lmd: stopped by SIGTERM; start again with: lmd prepare phantom --out '{tmp_path}/a b'\n"
    )  # fmt: skip
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_interrupt_that_a_library_drops_is_heeded_at_the_next_step(
    lmd: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lmd.data.dataset.sources import phantom

    def dropped(work: object) -> None:
        with suppress(BaseException):
            signal.raise_signal(signal.SIGTERM)
        list(work(lambda item: item, range(3)))  # type: ignore[operator]

    for work in (in_threads, lambda function, items: streamed(function, items, 1)):
        monkeypatch.setattr(phantom, "prepare", lambda *_, work=work: dropped(work))
        assert lmd("prepare", "phantom", "--out", tmp_path / "x")[0] == 75


def test_work_that_was_done_all_the_same_is_done(lmd: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from lmd.experiments.paper import printing

    def dropped(*_: object) -> str:
        with suppress(BaseException):
            signal.raise_signal(signal.SIGTERM)
        return "done\n"

    monkeypatch.setattr(printing, "shown", dropped)
    assert lmd("paper") == (0, "done\n", "")


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    usual = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stopping.heeding():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, usual)


def test_a_signal_while_python_imports_is_heeded_a_moment_later() -> None:
    """Python drops exceptions in places of its own machinery, such as the locks of modules."""
    code = """if True:
        import signal, time
        from lmd import stopping
        frame = type("Frame", (), {"f_code": type("Code", (), {"co_filename": "<frozen importlib._bootstrap>"})})
        with stopping.heeding():
            stopping._stop(signal.SIGTERM, frame)
            print(stopping.asked())
            try:
                time.sleep(10)
            except stopping.Stopped:
                print("stopped", stopping.asked() == signal.SIGTERM)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None\nstopped True\n"
