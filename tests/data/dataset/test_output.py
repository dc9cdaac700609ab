"""Dataset folders appear whole or not at all, also where the process is killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from lmd.data.dataset.output import becoming, refuse_used
from lmd.errors import DataError
from tests.processes import process


def fill(folder: Path) -> None:
    with becoming(folder) as unfinished:
        (unfinished / "image.png").write_text("x")
        folder.with_name("filling").touch()
        time.sleep(60)


def test_what_a_killed_process_left_does_not_block_and_is_removed(tmp_path: Path) -> None:
    out = tmp_path / "data"
    killed = process(fill, out)
    while not (tmp_path / "filling").exists():
        time.sleep(0.01)
    os.kill(killed.pid or 0, signal.SIGKILL)
    killed.join()
    assert len(list(tmp_path.glob(".data.*.lmd"))) == 1
    refuse_used(out)
    with becoming(out) as unfinished:
        (unfinished / "manifest.csv").write_text("x")
    assert {path.name for path in tmp_path.iterdir()} == {"filling", "data"}
    assert [path.name for path in out.iterdir()] == ["manifest.csv"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), becoming(tmp_path / "a" / "data"):
        raise KeyError
    assert list((tmp_path / "a").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write"), becoming(tmp_path / "file" / "data"):
        pass
