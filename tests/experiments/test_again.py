"""`lmd reproduce` called again: what is finished is used, what was interrupted goes on, the rest is refused."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lmd import cli
from lmd.errors import CheckpointError, SettingsError
from lmd.experiments.engine import Outcome, plan, reproduce
from lmd.settings import Tree
from lmd.training.progress import Silent, SilentWatcher
from tests.experiments.phantoms import COMMON, SHORT_ICC, draw_phantoms, request_of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantom data sets, and room for the experiments."""
    return draw_phantoms(tmp_path_factory.mktemp("reproduce"))


@pytest.fixture(scope="module")
def outcomes(root: Path) -> dict[str, Outcome]:
    """One experiment, run once for all tests."""
    return {"table5": reproduce(request_of(root, "table5"))}


def test_a_second_call_trains_nothing_and_writes_the_same(root: Path, outcomes: dict[str, Outcome]) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in (root / "table5" / "runs").rglob("*") if path.is_file()
    }
    text = outcomes["table5"].table.read_text()
    told: list[str] = []
    again = reproduce(request_of(root, "table5"), told.append)
    assert all("finished before" in line for line in told if not line.startswith("caveat: "))
    assert told[0].startswith("caveat: ")
    assert again.table.read_text() == text
    assert before == {path: path.stat().st_mtime_ns for path in before}


class Stop(SilentWatcher):
    """Interrupts the second training when its first epoch has ended."""

    runs = 0

    @contextmanager
    def training(self, title: str) -> Iterator[Silent]:
        self.runs += 1
        progress = Silent()
        if self.runs == 2:
            progress.finished = self.interrupt  # type: ignore[method-assign]
        yield progress

    def interrupt(self, record: Tree) -> None:
        raise KeyboardInterrupt


def test_an_interrupted_experiment_goes_on_where_it_was(
    root: Path, outcomes: dict[str, Outcome], tmp_path: Path
) -> None:
    """It ends with the weights of one that nothing interrupted, and its first run is not trained again."""
    request = request_of(root, "table5", tmp_path / "half")
    with pytest.raises(KeyboardInterrupt):
        reproduce(request, watcher=Stop())
    lines = [line for line in plan(request) if not line.startswith("caveat: ")]
    assert [line.partition(": ")[2] for line in lines[:2]] == ["finished", "interrupted, goes on"]
    first = request.out / "runs/data/uniform-uniform/seed-42/model/model.safetensors"
    trained = first.stat().st_mtime_ns
    reproduce(request)
    assert first.stat().st_mtime_ns == trained
    weights = sorted(
        path.relative_to(root / "table5") for path in (root / "table5").rglob("model.safetensors")
    )
    assert len(weights) == 4
    for path in weights:
        whole, half = load_file(root / "table5" / path), load_file(request.out / path)
        assert all(torch.equal(value, half[name]) for name, value in whole.items())


def test_a_run_trained_elsewhere_is_not_used(
    root: Path, outcomes: dict[str, Outcome], tmp_path: Path
) -> None:
    """A run folder of other settings that lies where one of ours belongs is refused and left alone."""
    request = request_of(root, "table5", tmp_path / "out")
    target = request.out / "runs/data/uniform-uniform/seed-42"
    shutil.copytree(root / "table5/runs/data/balanced-uniform/seed-42", target)
    state = json.loads((root / "table5/experiment.json").read_text())
    (request.out / "experiment.json").write_text(json.dumps(state))
    before = sorted(target.rglob("*"))
    with pytest.raises(
        CheckpointError,
        match=r"uniform.seed-42 is not a run of this experiment: .*e_step.sampling was 'balanced', now 'uniform'",
    ):
        reproduce(request)
    assert sorted(target.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("table4", {}, "holds table5 with experiment = 'table5', now asked for 'table4'"),
        ("table5", {"data": ("second",)}, "on other data: column 'data' has the manifest"),
        ("table5", {"overrides": (*COMMON, *SHORT_ICC)}, "with settings = "),
    ],
)
def test_a_folder_of_another_experiment_is_refused(
    name: str, changes: Tree, words: str, root: Path, outcomes: dict[str, Outcome]
) -> None:
    with pytest.raises(SettingsError, match=words):
        reproduce(request_of(root, name, root / "table5", **changes))


def test_a_folder_of_another_budget_or_of_no_experiment_is_refused(
    root: Path, outcomes: dict[str, Outcome], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="with budget = 'smoke', now asked for 'short'"):
        reproduce(replace(request_of(root, "table5"), budget="short"))
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(SettingsError, match="holds no experiment"):
        reproduce(request_of(root, "table5", tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_the_command_runs_and_lists(
    root: Path,
    outcomes: dict[str, Outcome],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    request = request_of(root, "table5")
    options = [part for text in request.overrides for part in ("--set", text)]
    arguments = ["table5", "--data", *request.data, "--out", request.out, "--seeds", 1, "--budget", "smoke"]
    for more, words in (
        (["--dry-run"], "4 runs, 0 of them to do"),
        ([], f"table: {request.out / 'table.md'}"),
    ):
        monkeypatch.setattr(sys, "argv", ["lmd", "reproduce", *map(str, arguments), *options, *more])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert stopped.value.code == 0
        assert words in capfd.readouterr().out.splitlines()
