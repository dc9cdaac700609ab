"""`lmd reproduce --dry-run`: what is left to do, and the time of all runs; and one plan for all rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmd.data.dataset.manifest import read_dataset
from lmd.experiments import EXPERIMENTS
from lmd.experiments.engine import plan, reproduce
from lmd.experiments.request import Request, check
from lmd.experiments.runs import all_runs
from lmd.planning import Plan
from tests import toy
from tests.experiments.phantoms import draw_phantoms, request_of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_phantoms(tmp_path_factory.mktemp("reproduce"))


def of_an_hour(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every training of one run takes an hour, half of it where its first stage is taken over."""
    measured: list[str] = []

    def seconds(self: Plan) -> float:
        measured.append(self.outline.method)
        return 1800.0 if self.outline.first else 3600.0

    monkeypatch.setattr(Plan, "seconds", property(seconds))
    return measured


def test_the_time_is_that_of_all_runs_that_are_left(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_an_hour(monkeypatch)
    request = request_of(root, "table1", tmp_path / "out", methods="ce,decoupling", seeds=3)
    lines = plan(request)
    assert lines[-1].startswith("time: about 4.5 h on this machine for 6 runs, one after another")
    text = "\n".join(lines)
    first = read_dataset(root / "first")
    assert f"{first.counts('train').sum()} for training" in text
    assert "16 x 16" in text
    (ce,) = [line for line in lines if line.startswith("data/ce ")]
    assert f"1 epoch: {first.counts('train').sum() // 16} steps" in ce  # Of 16 images each.
    (crt,) = [line for line in lines if line.startswith("data/decoupling ")]
    assert "stage 1 of another run; " in crt
    assert not (tmp_path / "out").exists()


def test_what_is_finished_is_left_out_of_the_time(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of(root, "table1", tmp_path / "out", methods="ce", seeds=1)
    reproduce(request)
    measured = of_an_hour(monkeypatch)
    assert plan(request)[-1] == "plan: nothing is left to train"
    more = request_of(root, "table1", tmp_path / "out", methods="ce,decoupling", seeds=1)
    assert "about 30 min on this machine for 1 run," in plan(more)[-1]
    assert set(measured) == {"decoupling"}


@pytest.mark.parametrize("budget", ["paper", "auto", "smoke"])
def test_it_answers_for_every_budget_with_a_measured_time(budget: str, tmp_path: Path) -> None:
    dataset = toy.make_dataset(tmp_path)
    overrides = () if budget != "paper" else ("size=32",)
    request = Request(
        "table1", [str(dataset.folder)], tmp_path / "out", 1, "ce", budget,
        overrides=("encoder=test_resnet", "pretrained=false", *overrides),
    )  # fmt: skip
    last = plan(request)[-1]
    assert last.startswith("time: about ")
    assert "on this machine for 1 run" in last


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_one_plan_holds_for_all_rows(name: str, root: Path, tmp_path: Path) -> None:
    """Images, pixels, batch and the epochs of stage 1 are equal, so that rows differ in the method alone."""
    request = Request(
        name, [str(root / "first")], tmp_path, 1, budget="auto", overrides=("pretrained=false",)
    )
    runs = all_runs(check(request))
    assert len(runs) > 1
    assert len({(run.settings.size, run.settings.batch, run.settings.last_batch) for run in runs}) == 1
    assert len({run.settings.stage1.epochs for run in runs if run.row.method != "fs"}) == 1  # type: ignore[attr-defined]
    assert {run.settings.stage1.epochs for run in runs} != {100}  # type: ignore[attr-defined]
