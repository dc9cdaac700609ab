"""`lmd reproduce --jobs`: runs in processes side by side, with the result of one after another."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lmd.errors import SettingsError
from lmd.experiments import engine
from lmd.experiments.engine import reproduce
from lmd.experiments.order import source_of
from lmd.experiments.request import Request, check
from lmd.experiments.runs import all_runs
from lmd.experiments.side_by_side import words_of
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
        deadline=60,
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
    assert made == [replace(request, jobs=1, deadline=None)]
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
