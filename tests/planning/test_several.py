"""The plan of several folds: that of one, as often as there are folds, and one clock for all."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmd.planning import plan_of_run, settings_for
from lmd.planning.several import PlanOfFolds
from tests import toy

NAMES = ["fold-1", "fold-2", "fold-3"]


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> tuple[PlanOfFolds, float]:
    """The plan of three folds, and the seconds of one of them as they were rehearsed."""
    folder: Path = tmp_path_factory.mktemp("toy")
    data = toy.make_dataset(folder)
    settings = settings_for("lmd", data, "paper", toy.LMD)
    found = PlanOfFolds(plan_of_run(data, "lmd", settings).outline, NAMES)
    assert found.paces is not None
    one = sum(pace.total(leg.epochs) for pace, leg in zip(found.paces, found.outline.legs, strict=True))
    return found, one


def test_the_time_is_that_of_all_folds(plans: tuple[PlanOfFolds, float]) -> None:
    plan, one = plans
    assert plan.seconds == pytest.approx(3 * one)
    line = next(line for line in plan.lines() if line.startswith("folds"))
    assert line.split(maxsplit=1)[1].startswith("3 to train, all like fold-1; the time is of all")


def test_one_clock_counts_all_folds_down(plans: tuple[PlanOfFolds, float]) -> None:
    plan, one = plans
    clock = plan.clock()
    assert clock.left() == pytest.approx(3 * one)
    clock.started("fold-3 stage1", 0)  # The first two are over.
    assert clock.left() == pytest.approx(one, rel=0.05)
