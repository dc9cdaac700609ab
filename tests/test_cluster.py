"""Tasks as jobs of a cluster, with submitit's local executor in place of one."""

from __future__ import annotations

import os
import pickle
import pickletools
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from lmd.errors import SettingsError
from lmd.jobs import Cluster, Done, Task, check_executor, run_tasks
from lmd.jobs.cluster import Command

installed = pytest.mark.usefixtures("submitit")


@pytest.fixture
def submitit() -> None:
    pytest.importorskip("submitit", reason="needs the extra slurm")


@installed
def test_commands_run_as_jobs_and_a_failing_one_stops_no_other(tmp_path: Path) -> None:
    told: list[Done] = []
    tasks = [
        Task(name, partial(list, words), tmp_path / "logs" / f"{name}.log")
        for name, words in {"wrong": ["paper", "table9"], "right": ["paper", "table3"]}.items()
    ]
    done = run_tasks(tasks, 2, told.append, pool=Cluster("local", [], tmp_path / "logs"))
    assert [(one.task.name, one.code) for one in done] == [("wrong", 2), ("right", 0)]
    assert (done[0].error or "").startswith("unknown table or figure 'table9'"), done[0].error
    assert "LMD" in tasks[1].log.read_text()


@installed
def test_a_file_beside_the_images_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("random.py", "numpy.py", "submitit.py", "lmd.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')\n")
    task = Task("a", lambda: ["--version"], tmp_path / "log")
    (done,) = run_tasks([task], 1, lambda done: None, pool=Cluster("local", [], tmp_path))
    assert done.code == 0, done.error
    assert not (tmp_path / "was-run").exists()


@installed
def test_a_job_that_is_interrupted_saves_and_goes_on_with_the_same_command(tmp_path: Path) -> None:
    saved, log, result = tmp_path / "saved", tmp_path / "log", tmp_path / "result.json"
    script = f"trap 'echo saved; touch {saved}; exit 0' USR1; echo $PPID > {tmp_path}/parent; echo begun; [ -e {saved} ] && exit 7; while :; do sleep 0.02; done"
    cluster = Cluster("local", [], tmp_path)
    command = Command(["/bin/sh", "-c", script], str(log), str(result))
    cluster.jobs.append(cluster.executor.submit(command))
    until = time.monotonic() + 60
    while not (log.exists() and "begun" in log.read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(
        int((tmp_path / "parent").read_text()), signal.SIGUSR2
    )  # As a cluster does before the time is over.
    while not result.exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    cluster.clear()
    assert log.read_text().split() == ["begun", "saved", "begun"]
    assert '"code": 7' in result.read_text()


def test_what_is_pickled_are_three_texts() -> None:
    content = pickle.dumps(Command(["lmd", "train"], "a.log", "a.json"))
    named = {arg for op, arg, _ in pickletools.genops(content) if op.name in ("SHORT_BINUNICODE", "GLOBAL")}
    assert named == {
        "lmd.jobs.cluster",
        "Command",
        "words",
        "lmd",
        "train",
        "log",
        "a.log",
        "result",
        "a.json",
        "process",
    }


@installed
@pytest.mark.parametrize(
    ("executor", "options", "words"),
    [("local", ["nonsense=1"], "nonsense"), ("slurm", [], "srun")],
)
def test_what_submitit_refuses_is_one_line(
    executor: str, options: list[str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=words) as error:
        Cluster(executor, options, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("executor", "options", "jobs", "words"),
    [
        (None, ["partition=gpu"], 2, "--slurm partition=gpu: it is for --executor slurm"),
        ("sge", [], 2, "--executor sge; known: local, slurm"),
        ("slurm", [], "auto", "--jobs auto: with --executor slurm say how many jobs run at a time"),
        ("slurm", ["partition"], 2, "--slurm partition: must be KEY=VALUE, such as partition=gpu"),
    ],
)
def test_options_that_make_no_sense(
    executor: str | None, options: list[str], jobs: int | str, words: str
) -> None:
    with pytest.raises(SettingsError) as error:
        check_executor(executor, options, jobs)
    assert str(error.value) == words
