"""A method on all folds: one by one or side by side to the same weights, resumed, started from another run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import lmd
from lmd.data.dataset.folds_folder import Folds
from lmd.errors import CheckpointError, DataError
from lmd.folds import running
from lmd.folds.folder import FoldsRun, read_folds_run
from lmd.jobs import Deadline, Done, Task
from lmd.run import RunFolder, read_identity, read_model_card
from tests import toy
from tests.command import Command, refused
from tests.folds.conftest import SETTINGS

WORDS = [word for name, value in {"encoder": "test_resnet", "pretrained": "false", "select": "val_bacc", "size": 16, "batch": 8,
         "stage1.epochs": 2}.items() for word in ("--set", f"{name}={value}")]  # fmt: skip
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    "OMP_NUM_THREADS": str(torch.get_num_threads()),
}


def same(one: Path, other: Path) -> bool:
    """Whether two folds runs have the same weights, bit for bit."""
    names = read_folds_run(one).names
    pairs = [[load_file(RunFolder(run / name).weights) for run in (one, other)] for name in names]
    return all(
        first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
        for first, second in pairs
    )


def test_each_fold_is_an_ordinary_run_on_its_data(folds: Folds, finished: Path) -> None:
    assert [path.name for path in sorted(finished.iterdir())] == [
        "fold-1", "fold-2", "fold-3", "folds-run.json", "recipe.yaml"
    ]  # fmt: skip
    for name, dataset in folds.datasets.items():
        folder = RunFolder(finished / name)
        card = read_model_card(folder)
        assert card.dataset.manifest_sha256 == dataset.info.manifest_sha256
        assert card.training_counts == dataset.counts("train").tolist()
        assert read_identity(folder)["settings"]["seed"] == 42
        assert (folder.path / "report.html").is_file()


def test_a_fold_has_the_weights_of_a_run_on_it_alone(folds: Folds, finished: Path, tmp_path: Path) -> None:
    alone = lmd.train(folds.datasets["fold-2"], method="ce", settings=SETTINGS, out=tmp_path / "alone")
    one, other = load_file(alone.weights), load_file(RunFolder(finished / "fold-2").weights)
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_side_by_side_gives_the_same_weights_at_equal_threads(
    folds: Folds, finished: Path, tmp_path: Path
) -> None:
    """The command with two processes against this one with as many threads; one line for each fold."""
    words = ["train", folds.folder, "--method", "ce", *WORDS, "--jobs", "2", "--out", tmp_path / "run"]
    ran = subprocess.run(
        [sys.executable, "-m", "lmd", *map(str, words)],
        env={**ENVIRONMENT, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("3 folds, 2 at a time with 1 thread each"), lines
    cards = {name: read_model_card(RunFolder(tmp_path / "run" / name)) for name in folds.names}
    told = [
        f"{name}: validation balanced accuracy {card.validation_bacc:.3f}, {card.training_seconds:.0f} s"
        for name, card in cards.items()
    ]
    assert sorted(lines[1:4]) == told
    assert lines[4:] == [
        f"run: {tmp_path / 'run'} (3 folds, such as {tmp_path / 'run' / 'fold-1'})",
        f"next: lmd evaluate {tmp_path / 'run'}",
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        lmd.train(folds, method="ce", settings=SETTINGS, out=tmp_path / "one")
    finally:
        torch.set_num_threads(threads)
    assert same(tmp_path / "run", tmp_path / "one")


@pytest.mark.slow
def test_stopped_in_the_middle_and_resumed_equals_uninterrupted(
    folds: Folds, finished: Path, tmp_path: Path
) -> None:
    """SIGTERM to the command whose child is in its second epoch; what was finished is not trained again."""
    out = tmp_path / "run"
    words = ["train", folds.folder, "--method", "ce", *WORDS, "--set", "stage1.epochs=12", "--jobs", "2"]
    parent = subprocess.Popen(
        [sys.executable, "-m", "lmd", *map(str, words), "--out", str(out)],
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 120
    while not all((out / name / "metrics.jsonl").exists() for name in ("fold-1", "fold-2")):
        assert parent.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(60) != 0
    assert not all(RunFolder(out / name).model.exists() for name in ("fold-1", "fold-2"))
    assert not (out / "fold-3" / "model").exists()
    settings = {**SETTINGS, "stage1": {"epochs": 12}}
    lmd.train(folds, out=out, resume=True)
    lmd.train(folds, method="ce", settings=settings, out=tmp_path / "whole")
    assert same(out, tmp_path / "whole")


def test_a_fold_that_fails_stops_no_other_and_the_next_call_does_the_rest(
    folds: Folds, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, told = running.train_one, list[str]()

    def failing(dataset: object, out: Path, *rest: object) -> RunFolder:
        if out.name == "fold-2":
            raise DataError("image 'x' cannot be read")
        return real(dataset, out, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(running, "train_one", failing)
        with pytest.raises(
            CheckpointError, match=r"1 of 3 folds failed, the first is fold-2: image 'x'.*--resume"
        ):
            lmd.train(folds, method="ce", settings=SETTINGS, out=tmp_path / "run", say=told.append)
    assert [line.split(":")[0] for line in told] == folds.names
    assert told[1] == "fold-2: failed: image 'x' cannot be read"
    kept = RunFolder(tmp_path / "run" / "fold-1").weights.stat().st_mtime_ns
    told.clear()
    lmd.train(folds, out=tmp_path / "run", resume=True, say=told.append)
    assert told[0].startswith("fold-1: finished before, validation balanced accuracy")
    assert told[2].startswith("fold-2: validation balanced accuracy")
    assert RunFolder(tmp_path / "run" / "fold-1").weights.stat().st_mtime_ns == kept
    assert same(tmp_path / "run", finished)


def test_what_does_not_end_in_time_is_told_and_the_exit_code_is_that_of_try_again(
    folds: Folds, lmd: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[Task], Deadline]] = []

    def late(tasks: list[Task], jobs: int, told: object, *, deadline: Deadline, **more: object) -> list[Done]:
        assert jobs == 1
        asked.append((tasks, deadline))
        return []

    monkeypatch.setattr(running, "run_tasks", late)
    words = ["train", folds.folder, "--method", "ce", *WORDS, "--out", tmp_path / "run", "--deadline", "50"]
    before = time.monotonic()
    code, _, err = lmd(*words)
    assert code == 75
    (line,) = [line for line in err.splitlines() if line.startswith("lmd: ")]
    assert "time was over before fold-1, fold-2, fold-3 had ended (3 of 3 folds)" in line
    assert f"go on with 'lmd train {folds.folder} --out {tmp_path / 'run'} --resume'" in line
    tasks, deadline = asked[0]
    assert [task.left for task in tasks] == [1.0] * 3
    assert before + 40 < deadline.at < time.monotonic() + 45  # A tenth is kept for what follows.


@pytest.mark.slow
def test_a_child_that_fails_is_told_with_its_reason(
    folds: Folds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(folds.folder, tmp_path / "cv"))
    broken = lmd.read_dataset(copy)
    assert isinstance(broken, Folds)
    (copy / "fold-2" / "manifest.csv").write_text("id\n")  # After it was read, as if the disk had failed.
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
    told: list[str] = []
    with pytest.raises(CheckpointError, match="1 of 3 folds failed, the first is fold-2: the manifest lacks"):
        lmd.train(broken, method="ce", settings=SETTINGS, out=tmp_path / "run", jobs=3, say=told.append)
    assert sum("validation balanced accuracy" in line for line in told) == 2
    assert (tmp_path / "run" / "logs" / "fold-2.log").is_file()


def test_from_a_folds_run_each_fold_takes_the_first_stage_of_the_same(
    folds: Folds, finished: Path, tmp_path: Path
) -> None:
    settings = {**SETTINGS, **toy.SHORT_HEAD}
    lmd.train(folds, method="decoupling", settings=settings, out=tmp_path / "whole")
    lmd.train(folds, method="decoupling", settings=settings, out=tmp_path / "taken", start=finished)
    assert same(tmp_path / "whole", tmp_path / "taken")
    stages = (tmp_path / "taken" / "fold-3" / "metrics.jsonl").read_text().splitlines()
    assert all('"stage": "stage2"' in line for line in stages)
    shutil.rmtree(tmp_path / "taken" / "fold-3")
    finished.rename(finished.with_name("moved"))
    try:
        with pytest.raises(CheckpointError, match=r"takes its first stages from .*, which is gone"):
            lmd.train(folds, out=tmp_path / "taken", resume=True)
    finally:
        finished.with_name("moved").rename(finished)
    lmd.train(folds, out=tmp_path / "taken", resume=True)  # It remembers where its first stages are from.
    assert same(tmp_path / "whole", tmp_path / "taken")


def test_slips_about_folds_are_one_line(lmd: Command, folds: Folds, run: Path, tmp_path: Path) -> None:
    data, new = folds.folder, tmp_path / "new"
    train = ["train", data, "--method", "ce", *WORDS]
    refused(lmd(*train, "--out", new, "--jobs", "0"), "--jobs 0", "at least 1")
    refused(lmd(*train, "--out", new, "--jobs", "4"), "--jobs 4", "3 folds", "from 1 to 3")
    refused(lmd("train", data / "fold-1", *WORDS, "--out", new, "--jobs", "2"), "--jobs 2", "without folds")
    alone = ["train", data / "fold-1", *WORDS, "--out", new]
    refused(lmd(*alone, "--deadline", "9"), "--deadline 9", "without folds: leave --deadline out")
    refused(lmd(*alone, "--executor", "local"), "--executor local", "without folds: leave --executor out")
    refused(lmd(*train, "--out", new, "--deadline", "0"), "--deadline 0", "above 0 seconds")
    refused(lmd(*train, "--out", new, "--jobs", "many"), "--jobs many", "at least 1, or auto")
    refused(lmd(*train, "--out", run), "not empty", "--resume")
    refused(lmd(*train, "--out", run, "--resume", "--set", "batch=4"), "batch was 8, now 4")
    refused(lmd(*train, "--out", run / "fold-1", "--resume"), "is a run on one data set", "has folds")
    refused(
        lmd("train", data / "fold-1", "--method", "ce", *WORDS, "--out", run, "--resume"), "is a run on folds"
    )
    refused(lmd(*train, "--out", new, "--from", run / "fold-1"), "--from", "must be a folds run")
    ordinary = ["train", data / "fold-1", "--method", "decoupling", *WORDS, "--out", new, "--from", run]
    refused(lmd(*ordinary), "name one, such as", "fold-1")
    refused(lmd("train", tmp_path, "--out", new), "is not a dataset folder")
    (run / "folds-run.json").write_text("{}")
    refused(lmd(*train, "--out", run, "--resume"), "folds-run.json is damaged")
    assert not new.exists()


def test_a_run_of_other_folds_or_of_something_else_is_not_gone_on_with(
    lmd: Command, folds: Folds, run: Path, raw: Path, tmp_path: Path
) -> None:
    from tests.folds.conftest import make_folds

    other = make_folds(raw, tmp_path / "other", folds=3, seed=1)
    refused(lmd("train", other.folder, "--out", run, "--resume"), "begun on other folds")
    (run / "fold-2" / "MODEL_CARD.md").unlink()
    text = (run / "fold-2" / "settings.yaml").read_text()
    (run / "fold-2" / "settings.yaml").write_text(text.replace("batch: 8", "batch: 9"))
    refused(lmd("train", folds.folder, "--out", run, "--resume"), "fold-2", "batch was 9, now 8")


def test_the_run_names_its_type(finished: Path) -> None:
    assert isinstance(read_folds_run(finished), FoldsRun)
    assert list(read_folds_run(finished).folds) == ["fold-1", "fold-2", "fold-3"]
