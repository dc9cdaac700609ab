"""When a training's state is written: by a thread, at most once in a while, and where it stops."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from lmd import methods, run, stopping
from lmd.data.dataset.manifest import Dataset
from lmd.errors import CheckpointError, SettingsError
from lmd.files import load_tree, save_tree
from lmd.run import RunFolder, load_checkpoint
from lmd.settings import Tree
from lmd.training import saving
from lmd.training.checkpoint import copied
from lmd.training.progress import Silent
from lmd.training.saving import Saver
from lmd.training.start import train
from tests import toy


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


def saver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: str = "60") -> Saver:
    monkeypatch.setenv(saving.VARIABLE, seconds)
    return Saver(RunFolder(tmp_path))


def epoch(number: int) -> Tree:
    return {"epoch": number, "weights": torch.full((3,), float(number))}


def saved(tmp_path: Path) -> Any:
    """The epoch that lies on the disk, or None."""
    folder = RunFolder(tmp_path)
    return load_checkpoint(folder)["epoch"] if folder.checkpoint.is_file() else None


def test_nothing_is_written_before_it_is_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with saver(tmp_path, monkeypatch) as one:
        for number, (now, on_disk) in enumerate([(59, None), (61, 1), (120, 1), (122, 3)]):
            clock[0] = now
            one.keep(lambda number=number: epoch(number))
            one._pool.submit(lambda: None).result()  # Behind what it writes.
            assert saved(tmp_path) == on_disk


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_where_it_stops_the_last_epoch_is_written(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_until_it_stops() -> None:
        with saver(tmp_path, monkeypatch) as one:
            one.save(lambda: epoch(0))
            one.keep(lambda: epoch(1))
            assert saved(tmp_path) == 0
            raise error

    with pytest.raises(error):
        run_until_it_stops()
    assert saved(tmp_path) == 1


def test_zero_seconds_write_each_epoch_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with saver(tmp_path, monkeypatch, "0") as one:
        for number in range(3):
            one.keep(lambda number=number: epoch(number))
            assert saved(tmp_path) == number


def test_the_loop_goes_on_while_the_thread_writes_and_one_copy_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    may = threading.Event()

    def slow(folder: RunFolder, state: Tree) -> None:
        assert threading.current_thread() is not threading.main_thread()
        assert may.wait(10)
        written.append(state["epoch"])

    monkeypatch.setattr(run, "save_checkpoint", slow)
    with saver(tmp_path, monkeypatch, "1e-9") as one:
        one.keep(lambda: epoch(0))
        assert written == []  # The loop is here already.
        threading.Timer(0.05, may.set).start()
        one.keep(lambda: (written.append(100), epoch(1))[1])
        assert written[:2] == [0, 100]  # The second copy was taken once the first was written.
    assert written == [0, 100, 1]


def test_an_error_of_the_thread_is_raised_by_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def steps() -> None:
        with saver(tmp_path, monkeypatch) as one:
            one.keep(lambda: epoch(0), now=True)
            end = time.monotonic() + 10
            while time.monotonic() < end:
                one.check()

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot write .*state.safetensors: No space left"):
        steps()
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_signal_that_comes_while_a_copy_is_taken_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def state() -> Tree:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.01)
        return epoch(1)

    monkeypatch.setattr(stopping, "_asked", [])  # No later test is asked to stop.

    def training() -> None:
        with stopping.heeding(), saver(tmp_path, monkeypatch) as one:
            one.keep(lambda: epoch(0))
            one.keep(state)

    with pytest.raises(stopping.Stopped):
        training()
    assert stopping.asked() == signal.SIGUSR1
    assert saved(tmp_path) == 1


@pytest.mark.parametrize("told", ["-1", "often", "nan"])
def test_what_is_no_number_of_seconds_is_refused(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(saving.VARIABLE, told)
    with pytest.raises(SettingsError, match=f"LMD_CHECKPOINT_SECONDS = '{told}' is no number of seconds"):
        saving.seconds_between()


def test_by_default_it_is_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(saving.VARIABLE, raising=False)
    assert saving.seconds_between() == 60


def test_a_copy_does_not_change_with_the_state() -> None:
    weight = torch.ones(2)
    tree = {"a": {0: weight}, "b": [weight, (1, "x")], "c": None}
    copy = copied(tree)
    weight.zero_()
    assert copy["a"][0].tolist() == copy["b"][0].tolist() == [1, 1]
    assert (copy["b"][1], copy["c"]) == ([1, "x"], None)


def test_tensors_that_share_memory_are_saved(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    save_tree(tmp_path / "tree", [whole, whole, whole[2:4], whole.view(2, 3)[:, 1]])
    found = [tensor.tolist() for tensor in load_tree(tmp_path / "tree")]
    assert found == [whole.tolist(), whole.tolist(), [2, 3], [1, 4]]


def test_a_short_training_is_written_once_and_every_epoch_is_in_its_metrics(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    real = run.save_checkpoint

    def counted(folder: RunFolder, state: Tree) -> None:
        written.append(len(state["state"]["history"]))
        real(folder, state)

    lines: list[int] = []

    class Reading(Silent):
        def finished(self, record: Tree) -> None:
            lines.append(len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()))

    monkeypatch.delenv(saving.VARIABLE, raising=False)
    monkeypatch.setattr(run, "save_checkpoint", counted)
    settings = methods.settings_of("ce", recipe={**toy.COMMON, "stage1": {"epochs": 3}})
    train(dataset, "ce", settings, tmp_path / "run", progress=Reading())
    assert written == [3]
    assert lines == [1, 2, 3]
