"""`lmd reproduce --jobs`: runs in processes side by side, with the result of one after another."""

from __future__ import annotations

import json
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lmd.errors import SettingsError
from lmd.experiments import engine, side_by_side
from lmd.experiments.engine import reproduce
from lmd.experiments.order import cost_of, source_of
from lmd.experiments.request import Request, check
from lmd.experiments.reuse import ImageFiles
from lmd.experiments.runs import all_runs
from lmd.experiments.side_by_side import words_of
from lmd.experiments.work import Work
from lmd.jobs import Deadline, Done, Task
from tests.command import Command, refused
from tests.experiments.phantoms import draw_phantoms, request_of
from tests.experiments.test_reproduce import DIVERGING


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_phantoms(tmp_path_factory.mktemp("reproduce"))


def test_a_child_asks_for_what_the_parent_was_asked_for(
    tmp_path: Path, lmd: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words of a child make the same request, of whatever it consists."""
    request = Request(
        "table3", ["100=a", "300=b"], tmp_path, seeds=2, methods="ce,lmd", budget="smoke", weights="w",
        partial_weights=True, overrides=["size=16", "stage1.epochs=1"], allow_code=True, jobs=3, tau="own",
        deadline=60, executor="local", slurm=["timeout_min=9"],
    )  # fmt: skip
    defaults = Request("", [], tmp_path)
    assert all(
        getattr(request, one.name) != getattr(defaults, one.name)
        for one in fields(Request)
        if one.name not in ("out", "begun")
    )
    made: list[Request] = []
    told: list[str] = []
    monkeypatch.setattr("lmd.experiments.request.check", made.append)
    monkeypatch.setattr(engine, "reproduce_one", lambda request, name, watcher: told.append(name))
    code, _, err = lmd("reproduce", *words_of(request), "--only", "100/lmd/seed-42")
    assert code == 0, err
    assert made == [replace(request, jobs=1, deadline=None, executor=None, slurm=[])]
    assert told == ["100/lmd/seed-42"]


def test_a_run_waits_for_the_run_that_trains_its_first_stage(root: Path, tmp_path: Path) -> None:
    runs = all_runs(check(request_of(root, "table1", tmp_path)))
    waits = {run.row.key: source and source.row.key for run in runs if (source := source_of(run, runs, runs))}
    of_ce = ("decoupling", "bn-control", "logit-adjustment", "lort")
    of_lmd = ("lmd-no-vfc", "lmd-no-fdc", "lmd", "rrl", "rrl-logit-adjustment")
    assert {key: waits[key] for key in (*of_ce, *of_lmd)} == {
        **dict.fromkeys(of_ce, "ce"),
        **dict.fromkeys(of_lmd, "lmd-no-icc"),
    }
    assert not {"ce", "rs", "lmd-no-icc"} & waits.keys()


def test_side_by_side_ends_with_the_weights_of_one_after_another(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At one thread each; a run that diverges is told in its row, and the others go on."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    own = tmp_path / "mine.py"
    own.write_text(DIVERGING)
    request = request_of(
        root,
        "table1",
        tmp_path / "one",
        methods=f"{own},ce,decoupling",
        overrides=("encoder=test_resnet", "pretrained=false", "size=16", "batch=16", "stage1.epochs=1"),
        allow_code=True,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    reproduce(request)
    torch.set_num_threads(threads)
    told: list[str] = []
    outcome = reproduce(replace(request, out=tmp_path / "two", jobs=2), told.append)
    assert outcome.failures == {"data/mine/seed-42": "the loss term 'x' became nan"}
    lines = [line for line in told if line.startswith("[")]
    assert len(lines) == 3
    assert sum("balanced accuracy" in line for line in lines) == 2
    for key in ("ce", "decoupling"):
        one, two = (tmp_path / place / f"runs/data/{key}/seed-42" for place in ("one", "two"))
        first, second = load_file(one / "model/model.safetensors"), load_file(two / "model/model.safetensors")
        assert all(torch.equal(value, second[name]) for name, value in first.items())
        assert (one / "predictions-test.csv").read_text() == (two / "predictions-test.csv").read_text()
    stages = [json.loads(line)["stage"] for line in (two / "metrics.jsonl").read_text().splitlines()]
    assert set(stages) == {"stage2"}  # It took its first stage over.
    again: list[str] = []
    reproduce(replace(request, out=tmp_path / "two", jobs=2, methods="ce,decoupling"), again.append)
    assert sum("finished before" in line for line in again) == 2


def test_each_row_s_first_seed_comes_before_anyone_s_second(root: Path, tmp_path: Path) -> None:
    """And in a seed what others wait for, then what takes longest."""
    more = ("stage1.epochs=4", "stage2.epochs=1")
    request = request_of(root, "table3", tmp_path, methods=None, seeds=2)
    request = replace(request, overrides=(*request.overrides, *more))
    runs = all_runs(check(request))
    work = Work(runs, runs, lambda line: None)
    work.look(ImageFiles())
    order = [run.name for run in work.left]
    assert sorted(order) == sorted(run.name for run in runs)
    half = len(order) // 2
    assert {run.seed for run in work.left[:half]} == {42}
    assert {run.block for run in work.left[:half]} == {"100", "500"}
    awaited = {source.name for source in work.waits.values()}
    assert {"100/ce/seed-42", "100/lmd-no-icc/seed-42"} <= awaited
    assert {run.name for run in work.left[: len(awaited) // 2]} <= awaited
    rest = [work.costs[name].work for name in order[:half] if name not in awaited]
    assert rest == sorted(rest, reverse=True)
    assert len(set(rest)) > 2


def test_what_takes_a_first_stage_over_has_less_to_do(root: Path, tmp_path: Path) -> None:
    runs = all_runs(check(request_of(root, "table1", tmp_path, methods="ce,decoupling")))
    run = next(run for run in runs if run.row.key == "decoupling")
    whole, second = (cost_of(run, runs, waits) for waits in (False, True))
    assert second.work < whole.work
    assert (whole.kind, second.kind) == ("data/decoupling", "data/decoupling/second stage")
    assert (whole.left, second.left) == (1.0, 1.0)


def test_what_does_not_end_in_time_is_told_and_the_table_has_what_there_is(
    root: Path, tmp_path: Path, lmd: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[Task], Deadline]] = []

    def late(tasks: list[Task], jobs: int, told: object, *, deadline: Deadline, **more: object) -> list[Done]:
        asked.append((tasks, deadline))
        return []

    monkeypatch.setattr(side_by_side, "run_tasks", late)
    words = words_of(request_of(root, "table1", tmp_path / "out", methods="ce,decoupling"))
    begun = time.monotonic()
    code, out, err = lmd("reproduce", *words, "--deadline", "500")
    assert code == 75
    assert "[1/2] data/ce/seed-42: not begun, goes on with the next call" in out
    assert "2 runs did not end in time; the same call goes on with them" in err
    assert (tmp_path / "out" / "table.md").is_file()
    tasks, deadline = asked[0]
    assert {task.name: task.after for task in tasks} == {
        "data/ce/seed-42": (),
        "data/decoupling/seed-42": ("data/ce/seed-42",),
    }
    assert begun + 479 < deadline.at < time.monotonic() + 481
    refused(lmd("reproduce", *words, "--deadline", "0"), "--deadline 0", "above 0 seconds")


@pytest.mark.parametrize(("jobs", "words"), [(0, "--jobs 0"), (3, "--jobs 3: there are 2 runs")])
def test_numbers_that_make_no_sense_are_refused(jobs: int, words: str, root: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=words):
        reproduce(request_of(root, "table1", tmp_path / "out", methods="ce,decoupling", jobs=jobs))
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_not_there_is_refused(root: Path, tmp_path: Path, lmd: Command) -> None:
    words = words_of(request_of(root, "table1", tmp_path / "out"))
    refused(
        lmd("reproduce", *words, "--only", "data/lmd/seed-43"),
        "no run 'data/lmd/seed-43'",
        "data/lmd/seed-42",
    )
