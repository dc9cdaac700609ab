"""Who started several processes, and how they are started, watched and ended."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lmd import launching
from lmd.errors import SettingsError
from lmd.processes.speaking import LostProcessError, speaks
from lmd.processes.starters import ALONE, LAUNCHED, Place, machine, place
from tests import toy
from tests.command import Command

TORCH = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "n7", "MASTER_PORT": "29500"}
SLURM = {
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_NODELIST": "gpu[03-04,9],big1",
}


def told(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ALONE),
        (TORCH, Place(3, 4, 1, "n7", 29500)),
        ({**TORCH, "WORLD_SIZE": "1"}, ALONE),
        (SLURM, Place(5, 8, 1, "gpu03", 19567)),
        ({**SLURM, "MASTER_ADDR": "n1", "MASTER_PORT": "4000"}, Place(5, 8, 1, "n1", 4000)),
        ({**SLURM, "SLURM_STEP_NODELIST": "n1,n2"}, Place(5, 8, 1, "n1", 19567)),
    ],
)
def test_a_process_knows_its_place(
    variables: dict[str, str], expected: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(monkeypatch, variables)
    assert place() == expected


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE = 2, and RANK is not set"),
        ({**TORCH, "RANK": "first"}, "RANK = 'first' must be a whole number"),
        ({"OMPI_COMM_WORLD_SIZE": "3"}, "under mpirun"),
    ],
)
def test_a_process_without_a_place_is_refused(
    variables: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(monkeypatch, variables)
    with pytest.raises(SettingsError, match=line):
        place()


def test_a_machine_is_one_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="--nodes 2: set NODE_RANK"):
        machine(2)
    told(monkeypatch, {"NODE_RANK": "1", "MASTER_ADDR": "n1", "MASTER_PORT": "4000"})
    assert machine(2) == (1, "n1", 4000)
    with pytest.raises(SettingsError, match="--devices two"):
        launching.devices_asked("two")


def test_the_first_process_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one tells what is wrong with its own machine, and nothing of what all know."""
    lost = LostProcessError("gone")
    assert speaks()
    assert speaks(lost)
    told(monkeypatch, TORCH)
    assert not speaks()
    assert not speaks(lost)
    assert speaks(OSError("no such disk"))
    told(monkeypatch, {**TORCH, "RANK": "0", LAUNCHED: "1"})
    assert speaks()
    assert not speaks(lost)  # Whoever started it says so.


def as_children(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Lets the processes run some code in place of the command."""
    usual = launching.subprocess.Popen

    def started(words: list[str], **options: object) -> object:
        return usual([sys.executable, "-c", code], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(launching.subprocess, "Popen", started)


@pytest.mark.parametrize(
    ("code", "expected", "line"),
    [
        ("pass", 0, ""),
        ("print('lmd: no such disk', file=sys.stderr); sys.exit(2 if rank else 75)", 2, "lmd: no such disk"),
        ("os.kill(os.getpid(), 9) if rank else sys.exit(75)", 75, "process 2 of 2 was ended by SIGKILL"),
        ("time.sleep(60) if rank else sys.exit(3)", 3, ""),
    ],
)
def test_one_that_fails_ends_all(
    code: str, expected: int, line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launching, "_GRACE", 0.3)
    as_children(
        monkeypatch, f"import os, sys, time; rank = int(os.environ['RANK']); {code}".replace("; p", "\np")
    )
    assert launching.launch(["train"], 2, 1) == expected
    assert line in capfd.readouterr().err


@pytest.mark.slow
def test_two_processes_are_started_by_the_command(lmd: Command, tmp_path: Path) -> None:
    """The one test that starts them as a user does."""
    data, out = toy.make_dataset(tmp_path / "toy"), tmp_path / "RUN"
    words = ["--method", "ce", "--budget", "smoke", "--set", "encoder=test_resnet", "--set", "size=16"]
    words += ["--set", "pretrained=false", "--set", "stage1.epochs=1", "--set", "batch=8"]
    code, printed, _ = lmd("train", data.folder, *words, "--out", out, "--devices", "2", "--dry-run")
    assert code == 0
    assert "batch 8: 2 processes with 4 images each" in printed
    assert not out.exists()
    sys_words = ["train", str(data.folder), *words, "--out", str(out), "--devices", "2"]
    assert launching.launch(sys_words, 2, 1) == 0
    assert json.loads((out / "environment.json").read_text())["processes"] == 2
    assert (out / "model" / "model.json").is_file()
