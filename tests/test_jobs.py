"""Tasks side by side: their share of the cores, what is told of each, and that no child is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from lmd.errors import SettingsError
from lmd.jobs import (
    Deadline,
    Done,
    Task,
    check_deadline,
    check_jobs,
    run_tasks,
    share_of_cores,
    shares,
    told_of_gpu,
)
from lmd.parallel import num_cores

# In place of a worker: it hands the last word of each command to a shell, and begins at once.
WORKER = """#!{python} -S
import json, os, subprocess, sys
for line in sys.stdin:
    asked = json.loads(line)
    with open(asked["log"], "ab") as log:
        shell = subprocess.Popen(["/bin/sh", "-c", asked["words"][-1]], stdout=log, stderr=log)
    import signal
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: shell.send_signal(number))
    code = shell.wait()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if code < 0:
        os.kill(os.getpid(), -code)
    print(code, 0.1, flush=True)
"""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lets a worker run commands of a shell, so that a task may do anything and begins at once."""
    program = tmp_path / "shell"
    program.write_text(WORKER.format(python=os.path.realpath(f"/proc/{os.getpid()}/exe")))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path


def task(folder: Path, name: str, *words: str, after: Sequence[str] = ()) -> Task:
    return Task(name, partial(list, words), folder / "logs" / f"{name}.log", tuple(after))


def quiet(done: Done) -> None:
    pass


def test_commands_run_and_a_failing_one_stops_no_other(tmp_path: Path) -> None:
    told: list[Done] = []
    tasks = [
        task(tmp_path, "wrong", "paper", "table9"),
        task(tmp_path, "right", "paper", "table3"),
    ]
    done = run_tasks(tasks, 1, told.append)
    assert [(one.task.name, one.code) for one in done] == [("wrong", 2), ("right", 0)]
    assert done == told
    assert (done[0].error or "").startswith("unknown table or figure 'table9'"), done[0].error
    assert done[1].error is None
    assert "Full LMD" in tasks[1].log.read_text() or "LMD" in tasks[1].log.read_text()


def test_so_many_at_a_time_and_each_with_its_share(shell: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "num_cores", lambda: 8)
    count = f"touch {shell}/now-$$; sleep 0.3; ls {shell} | grep -c now-; sleep 0.2; rm {shell}/now-$$"
    words = f"echo $OMP_NUM_THREADS $MKL_NUM_THREADS $LMD_CORES; {count}"
    tasks = [task(shell, name, words) for name in "abcd"]
    assert [done.code for done in run_tasks(tasks, 2, quiet)] == [0] * 4
    lines = [one.log.read_text().splitlines() for one in tasks]
    assert {line[0] for line in lines} == {"4 4 4"}
    assert max(int(line[1]) for line in lines) == 2


def test_one_at_a_time_has_all_cores_and_never_meets_another(shell: Path) -> None:
    words = f"echo ${{OMP_NUM_THREADS:-unset}}; test ! -e {shell}/now && touch {shell}/now && sleep 0.1 && rm {shell}/now"
    tasks = [task(shell, name, words) for name in "abc"]
    assert [done.code for done in run_tasks(tasks, 1, quiet)] == [0, 0, 0]
    assert [one.log.read_text() for one in tasks] == ["unset\n"] * 3
    assert [done.code for done in run_tasks(tasks, 2, quiet)] != [0, 0, 0]  # So the test can tell.


def test_the_user_s_own_limit_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "num_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert [share_of_cores(number) for number in (1, 2, 4, 16)] == [3, 3, 2, 1]
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert [share_of_cores(number) for number in (2, 3, 16)] == [4, 2, 1]


def test_a_child_counts_its_share_as_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LMD_CORES", raising=False)
    there = num_cores()
    for share, counted in (("1", 1), ("0", 1), ("9999", there), ("many", there)):
        monkeypatch.setenv("LMD_CORES", share)
        assert num_cores() == counted


def test_a_task_waits_for_those_before_it_even_if_they_fail(shell: Path) -> None:
    first = task(shell, "first", f"sleep 0.3; touch {shell}/there; exit 3")
    second = task(shell, "second", f"test -e {shell}/there", after=["first"])
    free = task(shell, "free", f"test ! -e {shell}/there")
    assert [done.code for done in run_tasks([second, first, free], 3, quiet)] == [0, 3, 0]


def test_the_words_are_asked_for_when_the_task_begins(shell: Path) -> None:
    marks = shell / "mark"
    first = task(shell, "first", f"touch {marks}")
    second = Task("second", lambda: [f"exit {5 if marks.exists() else 6}"], shell / "second.log", ("first",))
    assert [done.code for done in run_tasks([first, second], 2, quiet)] == [0, 5]


def test_what_went_wrong_is_the_line_of_this_time(shell: Path) -> None:
    (one,) = run_tasks([task(shell, "a", "echo 'lmd: first fault'; exit 2")], 1, quiet)
    (two,) = run_tasks([task(shell, "a", "echo and more; exit 3")], 1, quiet)
    (three,) = run_tasks([task(shell, "a", "kill -9 $$")], 1, quiet)
    assert one.error == "first fault"
    assert two.error == f"exit code 3; see {one.task.log}"
    assert (three.error or "").startswith("ended by SIGKILL, perhaps for lack of memory"), three.error
    assert one.task.log.read_text() == "lmd: first fault\nand more\n"


def test_a_worker_does_task_after_task_until_one_leaves_something_behind(shell: Path) -> None:
    words = {
        "a": "echo $PPID",
        "b": "echo $PPID; exit 2",
        "c": "echo $PPID; exit 3",
        "d": "echo $PPID",
        "e": "kill -9 $PPID",
        "f": "echo $PPID",
    }
    tasks = [task(shell, name, text) for name, text in words.items()]
    assert [done.code for done in run_tasks(tasks, 1, quiet)] == [0, 2, 3, 0, -9, 0]
    a, b, c, d, e, f = (one.log.read_text() for one in tasks)
    assert a == b == c != d  # Exit code 3 is that of no user's mistake.
    assert e == ""
    assert f != d


def test_the_seconds_are_those_of_the_task_without_the_start_of_its_process(shell: Path) -> None:
    (done,) = run_tasks([task(shell, "a", "sleep 0.4")], 1, quiet)
    assert done.seconds == 0.1  # As the worker says.


def test_what_runs_out_of_memory_beside_others_is_tried_again_alone(shell: Path) -> None:
    big = f"echo 'lmd: memory ran out'; test -e {shell}/other && exit 71; exit 0"
    other = f"touch {shell}/other; sleep 0.4; rm {shell}/other"
    waits = f"test ! -e {shell}/other"
    tasks = [
        task(shell, "other", other),
        task(shell, "big", f"sleep 0.1; {big}"),
        task(shell, "after", waits, after=["big"]),
    ]
    lines: list[str] = []
    told: list[Done] = []
    assert [done.code for done in run_tasks(tasks, 2, told.append, say=lines.append)] == [0, 0, 0]
    assert lines == ["big: memory ran out; beside others: it is tried again alone"]
    assert [done.task.name for done in told] == ["other", "big", "after"]


def test_what_runs_out_of_memory_alone_has_failed(shell: Path) -> None:
    tasks = [task(shell, name, "echo 'lmd: memory ran out'; exit 71") for name in "ab"]
    lines: list[str] = []
    done = run_tasks(tasks, 2, quiet, say=lines.append)
    assert [one.error for one in done] == ["memory ran out"] * 2
    assert len(lines) <= 2
    assert [one.code for one in run_tasks(tasks[:1], 1, quiet, say=lines.append)] == [71]


def test_nothing_begins_that_cannot_end_before_the_deadline(shell: Path) -> None:
    def of(name: str, kind: str, work: float, after: Sequence[str] = ()) -> Task:
        return replace(task(shell, name, "true", after=after), kind=kind, work=work)

    tasks = [
        of("a", "short", 1),
        of("long", "long", 1000, ["a"]),
        of("b", "short", 1, ["a"]),
        of("c", "c", 1, ["long"]),
    ]
    deadline = Deadline(time.monotonic() + 30)  # A unit of work takes 0.1 s.
    assert [done.task.name for done in run_tasks(tasks, 1, quiet, deadline=deadline)] == ["a", "b"]


def test_what_runs_at_the_deadline_is_stopped_and_not_counted(shell: Path) -> None:
    stopped = f"trap 'touch {shell}/saved; exit 75' TERM; while :; do sleep 0.02; done"
    last = (
        f"trap 'exit 0' TERM; touch {shell}/last; while :; do sleep 0.02; done"  # Done before it could stop.
    )
    told: list[Done] = []
    tasks = [task(shell, "stopped", stopped), task(shell, "last", last), task(shell, "next", "true")]
    done = run_tasks(tasks, 2, told.append, deadline=Deadline(time.monotonic() + 0.6))
    assert [one.task.name for one in done] == [one.task.name for one in told] == ["last"]
    assert (shell / "saved").exists()


def test_the_time_of_a_task_is_that_of_its_kind_or_of_all() -> None:
    tasks = [
        Task(name, list, Path(), kind=name[0], work=work)
        for name, work in (("a1", 2.0), ("a2", 4.0), ("b1", 8.0), ("c1", 1.0))
    ]
    deadline = Deadline(0.0)
    assert deadline.expected(tasks[0]) is None
    deadline.note(Done(tasks[0], 0, 6.0, None))  # 3 s a unit.
    deadline.note(Done(tasks[2], 0, 40.0, None))  # 5 s a unit.
    deadline.note(Done(tasks[3], 2, 900.0, "failed"))
    assert deadline.expected(tasks[1]) == 12.0
    assert deadline.expected(replace(tasks[1], left=0.25)) == 3.0
    assert deadline.expected(tasks[3]) == 4.0  # The median of all.
    assert Deadline.after(100.0, 50.0).at == 140.0
    assert Deadline.after(1000.0, 50.0).at == 1030.0


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_deadline_in_which_nothing_can_be_done_is_refused(seconds: float) -> None:
    check_deadline(None)
    with pytest.raises(SettingsError, match="--deadline"):
        check_deadline(seconds)


def test_the_daemon_that_lets_processes_share_a_gpu_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert "no MPS daemon" in told_of_gpu(3)
    (tmp_path / "control").touch()
    assert told_of_gpu(3) == "3 processes share the GPU, its work runs together through NVIDIA's MPS daemon"


@pytest.mark.parametrize(("number", "code"), [(0, 5), (6, 5), (-1, 2)])
def test_numbers_of_processes_that_make_no_sense(number: int, code: int) -> None:
    with pytest.raises(SettingsError, match=rf"--jobs {number}: there are {code} folds"):
        check_jobs(number, code, "folds")


PARENT = """
import signal
import sys
from pathlib import Path
from lmd import jobs

signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell may have begun the tests with it ignored.

sys.executable = sys.argv[1]
folder = Path(sys.argv[2])
words = "echo $$ > {0}/pid-{1}; trap 'echo stopped > {0}/end-{1}; {2}exit 75' TERM INT; while :; do sleep 0.05; done"
tasks = [
    jobs.Task(name, lambda name=name: [words.format(folder, name, sys.argv[3])], folder / f"{name}.log")
    for name in "abc"
]
jobs.run_tasks(tasks, 2, lambda done: None)
"""


def begun(shell: Path, stubborn: str = "") -> tuple[subprocess.Popen[bytes], list[int]]:
    """A parent whose two children have begun, and their process ids."""
    real = os.path.realpath(f"/proc/{os.getpid()}/exe")
    parent = subprocess.Popen([real, "-c", PARENT, sys.executable, str(shell), stubborn], env=ENVIRONMENT)
    files = [shell / "pid-a", shell / "pid-b"]
    until = time.monotonic() + 30
    while not all(file.exists() and file.read_text() for file in files):
        assert time.monotonic() < until
        time.sleep(0.02)
    return parent, [int(file.read_text()) for file in files]


ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_every_child_and_then_this_process(shell: Path, number: signal.Signals) -> None:
    parent, children = begun(shell)
    parent.send_signal(number)
    assert parent.wait(20) == -number  # As it would have ended without children.
    assert not any(map(alive, children))
    assert (shell / "end-a").exists()
    assert (shell / "end-b").exists()
    assert not (shell / "pid-c").exists()  # What waits is not begun.


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
def test_a_second_signal_does_not_wait_for_a_stubborn_child(shell: Path) -> None:
    parent, children = begun(shell, "while :; do sleep 0.05; done; ")
    parent.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert parent.poll() is None
    assert all(map(alive, children))
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(20) == -signal.SIGTERM
    assert not any(map(alive, children))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl")
def test_a_child_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, subprocess, sys, time\n"
        "environment = {**os.environ, 'LMD_PARENT': str(os.getpid())}\n"
        "child = subprocess.Popen([sys.executable, '-m', 'lmd.jobs'], env=environment)\n"
        "time.sleep(0.5)\n"  # Until it has asked to end with its parent.
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    # The child's input stays open here, so that it is not the end of it that ends the child.
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
        parent.wait()
        until = time.monotonic() + 10
        while alive(child) and time.monotonic() < until:
            time.sleep(0.02)
        assert not alive(child)
