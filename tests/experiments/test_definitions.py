"""The experiments as data: every row can be run, and every number of the paper has its cell."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lmd import methods
from lmd.experiments import EXPERIMENTS, paper
from lmd.experiments.base import Block, Experiment
from lmd.experiments.tables import TABLE1, TABLE2, TABLE3
from lmd.fields import leaf_values
from lmd.settings import CommonSettings, Tree

ALL = list(EXPERIMENTS.values())


def settings_of(row: Tree | object, budget: str, method: str) -> CommonSettings:
    return methods.settings_of(method, budget, row)  # type: ignore[arg-type]


@pytest.mark.parametrize("budget", methods.FIXED_BUDGETS)
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
def test_every_printed_number_has_its_one_cell(experiment: Experiment) -> None:
    """Of the paper's budget: all numbers of the table stand somewhere, none twice; a figure has none."""
    assert experiment.ranking in {metric.key for metric in experiment.metrics}
    found = [
        entry
        for row in experiment.rows_of("paper")
        for block in experiment.blocks
        for metric in experiment.metrics
        if (entry := experiment.printed(row, block.key, metric.key))["value"] is not None
    ]
    cells = paper.load(experiment.name).cells.values()
    assert sorted((e["value"], e["sd"] or 0) for e in found) == sorted((c.value, c.sd or 0) for c in cells)
    assert all(entry["source"].endswith(f"2502.03238, table {experiment.name[-1]}") for entry in found)


@pytest.mark.parametrize("experiment", ALL, ids=lambda experiment: experiment.name)
def test_a_row_that_repeats_one_of_the_paper_names_it(experiment: Experiment) -> None:
    printed = [row.printed for row in experiment.rows_of("paper") if row.printed]
    if experiment.paper.is_table:
        assert sorted(printed) == sorted(experiment.paper.row_names)
    for row in experiment.rows_of("paper"):
        cell = experiment.printed(row, experiment.blocks[0].key, experiment.metrics[-1].key)
        if not experiment.paper.is_table:
            assert cell["reason"] == "the paper's figures print no numbers"
        elif not row.printed:
            assert (cell["shown"], row.kind) == ("not in the paper", "beyond")


PRINTED = {
    "ce": "CE",
    "rs": "RS (Zhang et al., 2021b)",
    "focal": "Focal loss (Lin et al., 2017)",
    "ldam-rs": "LDAM-RS (Cao et al., 2019)",
    "cb-focal": "CB-Focal (Cui et al., 2019)",
    "decoupling": "Decoupling (Kang et al., 2020)",
    "seesaw": "Seesaw (Wang et al., 2021)",
    "cicl": "CICL (Marrakchi et al., 2021)",
    "bal-mixup": "Bal-Mixup (Galdran et al., 2021)",
    "weight-balancing": "CB+WD+Max (Alshammari et al., 2022)",
    "fcd": "FCD (Li et al., 2022a)",
    "fs": "FS (Ju et al., 2022)",
    "cc-sam": "CC-SAM (Zhou et al., 2023)",
    "gcl": "GCL (Li et al., 2024a)",
    "lmd-no-rrl": "LMD w/o RRL",
    "lmd-no-icc": "LMD w/o ICC",
    "lmd-no-vfc": "LMD w/o VFC",
    "lmd-no-fdc": "LMD w/o FDC",
    "lmd": "LMD",
}


@pytest.mark.parametrize("experiment", [TABLE1, TABLE2, TABLE3], ids=lambda experiment: experiment.name)
def test_each_method_repeats_its_own_row(experiment: Experiment) -> None:
    rows = [row for row in experiment.rows_of("paper") if row.printed]
    assert {row.key: row.printed for row in rows} == PRINTED
    assert all(row.method == row.key for row in rows if row.kind in ("paper", "reconstruction"))
    assert all(row.title == row.printed for row in rows)
    assert [row.key for row in rows if row.kind == "reconstruction"] == ["fcd"]


def test_the_rows_of_tables_4_and_5_are_of_the_settings_that_are_printed() -> None:
    for row in EXPERIMENTS["table4"].rows_of("paper"):
        assert row.settings == {"e_step": {"distribution_weight": float(row.printed)}}
    for row in EXPERIMENTS["table5"].rows_of("paper"):
        estep, mstep = (row.settings[group]["sampling"] for group in ("e_step", "statistics"))
        assert row.title == paper.load("table5").rows[row.printed] == f"E {estep}, M {mstep}"
        assert row.key == f"{estep}-{mstep}"


def test_without_icc_is_rrl_with_crt_once() -> None:
    """The three tables have one such row, and the questions ask about it."""
    for experiment in (TABLE1, TABLE2, TABLE3):
        rows = [row for row in experiment.rows_of("paper") if row.method == "rrl-crt"]
        assert [(row.key, row.printed, row.kind) for row in rows] == [
            ("lmd-no-icc", "LMD w/o ICC", "ablation")
        ]
        asked = {(contrast.first, contrast.second) for contrast in experiment.contrasts}
        assert {("lmd-no-icc", "decoupling"), ("lmd", "lmd-no-icc")} <= asked


@pytest.mark.parametrize("budget", methods.FIXED_BUDGETS)
@pytest.mark.parametrize("name", ["table4", "table5", "fig3", "fig6", "fig7"])
def test_a_sweep_varies_its_setting_alone_around_lmd(name: str, budget: str) -> None:
    """The reference is LMD as the budget has it, and the others differ in what the sweep is of."""
    rows = [row for row in EXPERIMENTS[name].rows_of(budget) if row.kind != "baseline"]
    swept = {leaf for row in rows for leaf, _ in leaf_values(row.settings)}
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


def test_the_baseline_of_figure_3_is_cross_entropy() -> None:
    (row,) = [row for row in EXPERIMENTS["fig3"].rows_of("paper") if row.place is None]
    assert (row.method, row.kind, row.settings) == ("ce", "baseline", {})
    assert any("does not say which baseline" in note for note in EXPERIMENTS["fig3"].notes)


@pytest.mark.parametrize(
    ("names", "block"),
    [
        (["table1", "table4", "fig7"], TABLE1.blocks[0]),
        (["table2", "table5", "fig4", "fig5"], TABLE2.blocks[0]),
    ],
)
def test_experiments_on_one_data_set_are_held_to_the_same_counts(names: list[str], block: Block) -> None:
    assert all(EXPERIMENTS[name].blocks == (block,) for name in names)
    assert all(EXPERIMENTS[name].paper.data == block.title for name in names)
    assert EXPERIMENTS["fig3"].blocks[0].counts == TABLE3.blocks[2].counts
    assert EXPERIMENTS["fig6"].blocks[0].counts == ()


def test_the_papers_counts_are_those_of_its_split_tables(shared: Path) -> None:
    def counts(folder: str) -> list[int]:
        table = pd.read_csv(shared / folder / "training.csv")
        if "Finding" in table:
            return sorted(table["Finding"].value_counts())
        return sorted(table.select_dtypes("number").sum().astype(int))

    assert sorted(TABLE1.blocks[0].counts) == counts("hyper_kvasir")
    assert sorted(TABLE2.blocks[0].counts) == counts("reference_splits/isic_archive_lt")
    assert sorted(TABLE3.blocks[0].counts) == counts("reference_splits/isic2019_lt_r100")
