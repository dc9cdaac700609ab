"""Locks of folders: who holds one, and that it goes with its process."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from lmd import locks
from lmd.errors import CheckpointError
from lmd.files import atomic_path, atomic_write, beside, sweep
from lmd.locks import LOCK, locked, refuse_held
from tests.processes import process


def hold(folder: Path) -> None:
    with locked(folder):
        (folder / "held").touch()
        time.sleep(60)


def fill(path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        (temporary.parent / ".tmpOfALibrary").write_text("more")
        path.with_name("filling").touch()
        time.sleep(60)


def waited_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_held_folder_is_refused_with_who_holds_it_until_that_process_is_killed(tmp_path: Path) -> None:
    holder = process(hold, tmp_path / "run")
    waited_for(tmp_path / "run" / "held")
    told = rf"run is being written by process {holder.pid} on {socket.gethostname()} since 20\d\d-"
    with pytest.raises(CheckpointError, match=told), locked(tmp_path / "run"):
        pass
    with pytest.raises(CheckpointError, match=told):
        refuse_held(tmp_path / "run")
    os.kill(holder.pid or 0, signal.SIGKILL)
    holder.join()
    assert (tmp_path / "run" / LOCK).exists()
    refuse_held(tmp_path / "run")
    with locked(tmp_path / "run"):
        assert str(os.getpid()) in (tmp_path / "run" / LOCK).read_text()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["held"]


def test_two_of_one_process_do_not_hold_a_folder_together(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(CheckpointError, match="being written"), locked(tmp_path):
        pass


def test_a_folder_in_which_nothing_was_put_goes_again(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path / "a" / "b"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_told_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "try_lock", lambda descriptor: None)
    with locked(tmp_path):
        (tmp_path / "file").touch()
    assert "has no locks: start no second training in it" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot write"), locked(tmp_path / "file" / "run"):
        pass


# Temporary files.


def test_what_a_killed_process_left_is_removed_by_the_next_write_and_what_is_filled_stays(
    tmp_path: Path,
) -> None:
    filling = process(fill, tmp_path / "file")
    waited_for(tmp_path / "filling")
    atomic_write(tmp_path / "other", "x")
    left = [path for path in tmp_path.iterdir() if path.name.endswith(".lmd")]
    assert len(left) == 1
    assert {path.name for path in left[0].iterdir()} == {"file", LOCK, ".tmpOfALibrary"}
    os.kill(filling.pid or 0, signal.SIGKILL)
    filling.join()
    atomic_write(tmp_path / "other", "y")
    assert {path.name for path in tmp_path.iterdir()} == {"filling", "other"}


def test_files_of_others_are_not_swept(tmp_path: Path) -> None:
    names = {".hidden", "my.lmd", ".config.lmd", ".lock.txt"}
    for name in names:
        (tmp_path / name).write_text("precious")
    (tmp_path / ".mine.lmd").mkdir()
    (tmp_path / ".mine.lmd" / "file").write_text("precious")
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names | {".mine.lmd"}


def test_a_folder_swept_away_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the making of a folder and its lock another process may sweep."""
    opened, times = os.open, []

    def late(path: Path, *arguments: int) -> int:
        if Path(path).name == LOCK and not times:
            times.append(1)
            sweep(tmp_path)
        return opened(path, *arguments)

    monkeypatch.setattr(os, "open", late)
    with beside(tmp_path / "file") as temporary:
        temporary.write_text("x")
    assert times == [1]
