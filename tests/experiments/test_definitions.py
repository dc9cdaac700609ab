"""The experiments as data: the paper's numbers come from where they say, and every row can be run."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from lmd import methods
from lmd.experiments import EXPERIMENTS
from lmd.experiments.base import Experiment
from lmd.experiments.request import leaves
from lmd.experiments.tables import TABLE1, TABLE2, TABLE3
from lmd.settings import CommonSettings, Tree, resolve

ALL = list(EXPERIMENTS.values())


def settings_of(row: Tree | object, budget: str, method: str) -> CommonSettings:
    module = methods.load(method)
    layers = (methods.preset(module), methods.budget(module, budget), row)
    return resolve(module.Settings, *layers)  # type: ignore[arg-type]


@pytest.mark.parametrize("budget", methods.BUDGETS)
@pytest.mark.parametrize("experiment", ALL, ids=lambda experiment: experiment.name)
def test_every_row_can_be_run_in_every_budget(experiment: Experiment, budget: str) -> None:
    rows = experiment.rows_of(budget)
    assert len({row.key for row in rows}) == len(rows) >= 2
    assert sum(row.reference for row in rows) == 1
    for row in rows:
        settings_of(row.settings, budget, row.method)
    for contrast in experiment.contrasts:
        assert {contrast.first, contrast.second} <= {row.key for row in rows}


@pytest.mark.parametrize("experiment", ALL, ids=lambda experiment: experiment.name)
def test_the_papers_values_belong_to_cells_and_have_a_source(experiment: Experiment) -> None:
    rows = {row.key for row in experiment.rows_of("paper")}
    blocks = {block.key for block in experiment.blocks}
    metrics = {metric.key for metric in experiment.metrics}
    for row, block, metric in (*experiment.values.known, *experiment.values.reasons):
        assert row in rows
        assert block in blocks
        assert metric in metrics
    assert not experiment.values.known or experiment.values.source
    assert experiment.ranking in metrics


@pytest.mark.parametrize("budget", methods.BUDGETS)
@pytest.mark.parametrize("name", ["table4", "table5", "fig3", "fig6", "fig7"])
def test_a_sweep_varies_its_setting_alone_around_lmd(name: str, budget: str) -> None:
    """The reference is LMD as the budget has it, and the others differ in what the sweep is of."""
    rows = EXPERIMENTS[name].rows_of(budget)
    swept = {leaf for row in rows for leaf in leaves(row.settings)}
    lmd = flat(settings_of({}, budget, "lmd"))
    for row in rows:
        found = flat(settings_of(row.settings, budget, row.method))
        changed = {key for key in lmd if found[key] != lmd[key]}
        assert changed <= ({"select"} if row.reference else swept)
        assert row.reference or changed - {"select"}


def flat(settings: CommonSettings) -> Tree:
    tree: Tree = {}

    def fill(part: Tree, prefix: str) -> None:
        for key, value in part.items():
            if isinstance(value, dict):
                fill(value, f"{prefix}{key}.")
            else:
                tree[prefix + key] = value

    fill(settings.model_dump(), "")
    return tree


def test_quoted_values_stand_in_the_method_cards(shared: Path) -> None:
    cards = shared.parent / "methods.md"
    if not cards.is_file():
        pytest.skip(f"no method cards at {cards}")
    text = cards.read_text()
    quoted = [
        value
        for experiment in ALL
        if "our notes of the paper" in experiment.values.source and experiment is not TABLE3
        for value in experiment.values.known.values()
    ]
    assert len(quoted) == 3
    for value in quoted:
        assert re.search(rf"\b{value:.2f}\b", text)
    known = TABLE3.values.known
    bacc = "/".join(f"{known['ce', r, 'bacc']:.2f}" for r in ("100", "300", "500"))
    assert f"ISIC-2019 {bacc}" in text
    gain = known["lmd", "300", "auc"] - known["cc-sam", "300", "auc"]
    assert f"table gives {gain:.2f}" in text


def test_the_papers_counts_are_those_of_its_split_tables(shared: Path) -> None:
    def counts(folder: str) -> list[int]:
        table = pd.read_csv(shared / folder / "training.csv")
        if "Finding" in table:
            return sorted(table["Finding"].value_counts())
        return sorted(table.select_dtypes("number").sum().astype(int))

    assert sorted(TABLE1.blocks[0].counts) == counts("hyper_kvasir")
    assert sorted(TABLE2.blocks[0].counts) == counts("reference_splits/isic_archive_lt")
    assert sorted(TABLE3.blocks[0].counts) == counts("reference_splits/isic2019_lt_r100")
