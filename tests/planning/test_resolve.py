"""Where the settings of a run come from, with data."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmd import methods
from lmd.data.dataset.manifest import Dataset
from lmd.errors import DataError, SettingsError
from lmd.planning import settings_for
from lmd.planning.choice import Asked, choose, going_on
from lmd.planning.facts import facts_of, usual_side
from lmd.run import upgraded
from tests import toy


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


def test_the_facts_are_those_of_the_training_images(dataset: Dataset) -> None:
    facts = facts_of(dataset)
    assert (facts.images, facts.rarest_validated, facts.side) == (57, 3, 20)


def test_most_images_decide_the_side_not_the_largest(tmp_path: Path) -> None:
    dataset = toy.make_dataset(tmp_path)
    for number, path in enumerate(dataset.paths()):
        side = (500, 40) if number % 10 == 0 else (36, 90)
        Image.fromarray(np.zeros((*side, 3), np.uint8)).save(path)
    assert usual_side(dataset) == 36


def test_a_size_that_is_given_needs_no_look_at_the_images(tmp_path: Path) -> None:
    dataset = toy.make_dataset(tmp_path)
    for path in dataset.paths():
        path.unlink()
    assert settings_for("ce", dataset, overrides=["size=12"]).size == 12
    with pytest.raises(DataError, match=dataset.paths()[0].name):
        settings_for("ce", dataset)


def test_layers_go_from_defaults_to_overrides(dataset: Dataset) -> None:
    recipe, flags = {"batch": 4, "seed": 1, "size": 10}, {"seed": 2}
    settings = settings_for("ce", dataset, "auto", recipe, flags, ["size=12"])
    assert (settings.batch, settings.seed, settings.size) == (4, 2, 12)
    assert settings.last_batch == "even"
    assert settings.model_dump()["stage1"]["epochs"] == 34  # 500 steps in batches of 4, 15 an epoch.


@pytest.mark.parametrize("budget", ["smoke", "short", "paper"])
def test_the_other_budgets_know_no_data(dataset: Dataset, budget: str) -> None:
    assert settings_for("lmd", dataset, budget) == methods.settings_of("lmd", budget)


def test_without_data_there_is_no_plan() -> None:
    with pytest.raises(SettingsError, match="'auto' is a plan for a data set"):
        methods.settings_of("ce", "auto")


def test_a_method_of_ones_own_needs_no_budgets(dataset: Dataset, tmp_path: Path) -> None:
    text = Path("examples/my_method.py").read_text().replace("BUDGETS = budgets()", "BUDGETS = {}")
    own = tmp_path / "own.py"
    own.write_text(text)
    methods.load(str(own), allow_code=True)
    assert settings_for(str(own), dataset).batch == 5


def test_a_run_that_was_begun_before_tau_keeps_what_it_did(dataset: Dataset, tmp_path: Path) -> None:
    """The same words, and a budget that now lays other values; what is asked for by name still counts."""
    saved = upgraded({"select": "val_bacc", "size": 64})
    _, same = going_on(Asked("lmd", "short"), dataset, tmp_path, "lmd", saved)
    assert (same.select, same.tau, same.calibration, same.size) == ("val_bacc", 0.0, "none", 64)
    _, other = going_on(Asked("lmd", "short", overrides=["tau=0.5"]), dataset, tmp_path, "lmd", saved)
    assert (other.tau, other.select) == (0.5, "val_bacc")
    new = {"select": "val_margin", "tau": 0.0, "calibration": "temperature"}
    assert going_on(Asked("lmd", "short"), dataset, tmp_path, "lmd", new)[1].tau == 0.75


@pytest.mark.parametrize("budget", ["auto", "smoke", "short", "paper"])
def test_lmd_and_lmd_plus_alone_shift_and_lmd_not_under_the_budget_paper(
    budget: str, dataset: Dataset
) -> None:
    taus = {name: settings_for(name, dataset, budget, {"size": 16}).tau for name in methods.names()}
    assert taus.pop("lmd") == (0.0 if budget == "paper" else 0.75)
    assert taus.pop("lmd-plus") == "validation"  # It is of no paper.
    assert set(taus.values()) == {0.0}
    settings = settings_for("ce", dataset, budget, {"size": 16})
    assert settings.calibration == ("none" if budget == "paper" else "temperature")
    # The toy has three validation images of its rarest class, by which auto lets nothing choose.
    selects = {"paper": "val_bacc", "auto": "last", "short": "val_margin", "smoke": "val_margin"}
    assert settings.select == selects[budget]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            ["without=fdc", "e_step.distance=covariance_literal"],
            "no effect with without=fdc: e_step.distance",
        ),
        (["without=rrl", "stage1.kl=student_teacher"], "no effect with without=rrl: stage1.kl"),
        (["without=rrl", "stage1.epochs=3", "stage1.ce_view=strong"], None),
        (
            ["without=icc", "iterations=3", "m_step.optimisation.lr=0.1"],
            "no effect with without=icc: iterations, m_step.optimisation.lr",
        ),
        (["without=vfc", "m_step.solver=exact"], "no effect with without=vfc: m_step.solver"),
        (["without=vfc", "m_step.virtual_per_class=9"], None),
        (["m_step.solver=exact", "m_step.batch=9"], "no effect with m_step.solver=exact: m_step.batch"),
        (["m_step.l2=0.1"], "no effect with m_step.solver=sampled: m_step.l2"),
        (
            ["freeze=all", "e_step.distribution_weight=1"],
            "no effect with freeze=all: e_step.distribution_weight",
        ),
        (["without=fdc", "m_step.batch=9"], None),
    ],
)
def test_a_setting_without_effect_is_told(
    asked: list[str], told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    choose(Asked("lmd", "short", overrides=asked))
    assert caplog.messages == ([] if told is None else [told])
