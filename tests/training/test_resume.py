"""What goes on, what does not, and what is told: folders, lines of metrics, hardware."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

import lmd as package
from lmd import methods, run_folder
from lmd.data.dataset.manifest import Dataset
from lmd.errors import CheckpointError, SettingsError
from lmd.locks import LOCK, locked
from lmd.run import RunFolder
from lmd.settings import CommonSettings, Tree
from lmd.training import surroundings
from lmd.training.progress import Silent
from lmd.training.start import train
from tests import toy
from tests.command import Command, refused


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


class Stop(Silent):
    """Stops after the first epoch."""

    def finished(self, record: Tree) -> None:
        raise KeyboardInterrupt


def settings(**changes: Any) -> CommonSettings:
    return methods.settings_of("ce", recipe={**toy.COMMON, "stage1": {"epochs": 2}, **changes})


@pytest.fixture(scope="module")
def half(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("half") / "run"
    with pytest.raises(KeyboardInterrupt):
        train(dataset, "ce", settings(), out, progress=Stop())
    return out


@pytest.fixture
def run(half: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(half, tmp_path / "run"))


def resumed(dataset: Dataset, out: Path) -> RunFolder:
    return train(dataset, "ce", settings(), out, resume=True)


def epochs(folder: RunFolder) -> list[int]:
    return [json.loads(line)["epoch"] for line in folder.metrics.read_text().splitlines()]


@pytest.mark.parametrize("state", ["absent", "empty", "leftovers", "before the first epoch"])
def test_where_there_is_nothing_to_go_on_with_a_run_begins(
    state: str, dataset: Dataset, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One command line serves a scheduler that starts it again and again."""
    if state == "before the first epoch":
        shutil.rmtree(run / "checkpoint")
        (run / "metrics.jsonl").unlink()
    else:
        shutil.rmtree(run)
    if state in ("empty", "leftovers"):
        run.mkdir()
    if state == "leftovers":
        (run / ".settings.yaml.abcd1234.lmd").mkdir()
        (run / LOCK).write_text("{}")
    folder = resumed(dataset, run)
    assert epochs(folder) == [0, 1]
    assert ("holds no run yet: a new one begins" in caplog.text) == (state != "before the first epoch")
    assert not [path for path in run.rglob("*") if run_folder.is_temporary(path)]


def test_resume_alone_begins_where_there_is_nothing(lmd: Command, dataset: Dataset, tmp_path: Path) -> None:
    small = [
        word for name in ("size=16", "encoder=test_resnet", "pretrained=false") for word in ("--set", name)
    ]
    words = (
        "train",
        dataset.folder,
        "--resume",
        "--out",
        tmp_path / "run",
        "--method",
        "ce",
        "--budget",
        "smoke",
    )
    assert lmd(*words, *small)[0] == 0
    before = (tmp_path / "run" / "model" / "model.json").read_bytes()
    assert lmd(*words, *small)[0] == 0
    assert (tmp_path / "run" / "model" / "model.json").read_bytes() == before


def test_leftovers_alone_do_not_block_a_new_run(dataset: Dataset, tmp_path: Path) -> None:
    left = tmp_path / "run" / ".settings.yaml.abcd1234.lmd"
    left.mkdir(parents=True)
    (left / LOCK).touch()
    train(dataset, "ce", settings(), tmp_path / "run")
    assert not left.exists()
    with pytest.raises(SettingsError, match="not empty"):
        train(dataset, "ce", settings(), tmp_path / "run")


def test_a_run_that_is_being_trained_is_told_by_whom(lmd: Command, dataset: Dataset, run: Path) -> None:
    with locked(run):
        for words in ((), ("--resume",)):
            refused(lmd("train", dataset.folder, "--out", run, *words), "is being written by process")
        with pytest.raises(CheckpointError, match="is being written by process"):
            resumed(dataset, run)
        refused(lmd("evaluate", run), "it is still being trained, by process")


def test_lines_of_metrics_that_a_kill_lost_are_written_again(dataset: Dataset, run: Path) -> None:
    (run / "metrics.jsonl").unlink()
    assert epochs(resumed(dataset, run)) == [0, 1]


def test_lines_lost_after_the_last_epoch_are_written_again(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Last(Silent):
        def finished(self, record: Tree) -> None:
            if record["epoch"] == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dataset, "ce", settings(), tmp_path / "run", progress=Last())
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    assert epochs(resumed(dataset, tmp_path / "run")) == [0, 1]


def test_a_checkpoint_beside_a_finished_model_is_removed(dataset: Dataset, run: Path, tmp_path: Path) -> None:
    """A kill between the two leaves it."""
    folder = resumed(dataset, Path(shutil.copytree(run, tmp_path / "whole")))
    shutil.copytree(run / "checkpoint", folder.path / "checkpoint")
    resumed(dataset, folder.path)
    assert not (folder.path / "checkpoint").exists()


# What has changed meanwhile.


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"threads": 7}, "threads 1 in place of 7"),
        ({"gpu": "NVIDIA H100"}, "gpu none in place of NVIDIA H100"),
        ({"precision": "bf16"}, "precision fp32 in place of bf16"),
        ({"cpu": "Abacus"}, "in place of Abacus"),
    ],
)
def test_other_hardware_is_said_in_one_line_and_recorded(
    changes: Tree, told: str, dataset: Dataset, run: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    began = json.loads((run / "environment.json").read_text()) | {"threads": 1, "gpu": None}
    (run / "environment.json").write_text(json.dumps({**began, **changes}))
    here = {name: value for name, value in began.items() if name != "precision"}
    monkeypatch.setattr(surroundings, "environment", lambda: here)
    folder = resumed(dataset, run)
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == 1
    assert lines[0].startswith(f"{run} goes on with ")
    assert told in lines[0]
    assert "will not be, bit for bit" in lines[0]
    recorded = json.loads(folder.environment.read_text())
    assert recorded == {**began, **changes, "resumed": [{**here, "precision": "fp32"}]}


def test_another_torch_is_said(dataset: Dataset, run: Path, caplog: pytest.LogCaptureFixture) -> None:
    began = json.loads((run / "environment.json").read_text())
    began["packages"]["torch"] = "1.0"
    (run / "environment.json").write_text(json.dumps(began))
    resumed(dataset, run)
    assert "in place of 1.0" in caplog.text


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"packages": 3}', "[" * 100000])
def test_a_damaged_record_of_the_hardware_stops_nothing(
    content: str, dataset: Dataset, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (run / "environment.json").write_text(content)
    resumed(dataset, run)
    assert "environment.json cannot be read: where the run began is not known" in caplog.text


def test_the_same_hardware_says_nothing(
    dataset: Dataset, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = (run / "environment.json").read_bytes()
    resumed(dataset, run)
    assert caplog.text == ""
    assert (run / "environment.json").read_bytes() == before


def test_pixels_that_are_decoded_otherwise_are_said(
    dataset: Dataset, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from lmd.evaluation.leaks.seen import read_seen, write_seen

    seen = read_seen(RunFolder(run))
    assert seen is not None
    other = seen.train.model_copy(update={"pixels": ["f" * 64] * len(seen.train.pixels)})
    write_seen(RunFolder(run), seen.model_copy(update={"train": other}))
    resumed(dataset, run)
    assert "the images are decoded otherwise than when it began" in caplog.text


def test_the_report_of_a_finished_run_is_made_again(dataset: Dataset, run: Path) -> None:
    """A kill between model and report leaves none."""
    resumed(dataset, run)
    assert not (run / "report.html").exists()
    package.train(dataset, out=run, resume=True)
    assert (run / "report.html").is_file()
    assert (run / "MODEL_CARD.md").is_file()
