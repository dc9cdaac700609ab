"""`lmd reproduce` on a folds folder: each run on each fold, measured on the pooled answers."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lmd.data.dataset.sources import table
from lmd.errors import DataError
from lmd.experiments import load
from lmd.experiments.engine import Outcome, plan, reproduce
from lmd.experiments.given import find_data
from lmd.experiments.request import Request
from lmd.settings import Tree, resolve
from tests import toy
from tests.experiments.phantoms import COMMON

ROWS = ("ce", "decoupling")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy as two folds, and as two repeats of two folds."""
    folder = tmp_path_factory.mktemp("folds")
    dataset = toy.make_dataset(folder)
    dataset.table[["file", "label"]].to_csv(folder / "cases.csv", index=False)
    for name, more in (("cv", {"folds": "2"}), ("both", {"folds": "2", "repeats": "2"})):
        told = {"root": dataset.root, "table": folder / "cases.csv", **more}
        table.prepare(resolve(table.Options, told), folder / name)
    return folder


def request(root: Path, name: str, out: Path, **more: object) -> Request:
    options: Tree = {
        "seeds": 1,
        "methods": ",".join(ROWS),
        "budget": "smoke",
        "overrides": (*COMMON,),
        **more,
    }
    return Request("table1", [str(root / name)], out, **options)


@pytest.fixture(scope="module")
def outcome(root: Path) -> Outcome:
    return reproduce(request(root, "cv", root / "out"))


def pooled(root: Path, row: str) -> pd.DataFrame:
    run = root / "out/runs/data" / row / "seed-42"
    return pd.concat([pd.read_csv(run / name / "predictions-test.csv") for name in ("fold-1", "fold-2")])


def test_a_cell_is_measured_on_the_answers_of_all_folds(root: Path, outcome: Outcome) -> None:
    with (root / "out/table.csv").open() as file:
        found = {(line["row"], line["metric"]): line for line in csv.DictReader(file)}
    for row in ROWS:
        answers = pooled(root, row)
        assert len(answers) == len(set(answers["id"])) == 87
        right = (answers["predicted"] == answers["label"]).groupby(answers["label"]).mean()
        line = found[row, "recall"]
        assert float(line["ours"]) == pytest.approx(100 * right.mean(), abs=1e-4)
        assert (int(line["n"]), int(line["seeds"])) == (87, 1)
    text = outcome.table.read_text()
    assert "2 folds with" in text
    assert "87 images tested, each by a model that was not trained on it" in text


def test_the_first_stage_is_shared_within_a_fold(root: Path, outcome: Outcome) -> None:
    rows = {row["key"]: row for row in outcome.content["blocks"][0]["rows"]}
    assert rows["decoupling"]["stage1_from"] == ["ce"]
    for fold in ("fold-1", "fold-2"):
        stages = [
            (root / "out/runs/data" / row / "seed-42" / fold / "model/stage1.safetensors").read_bytes()
            for row in ROWS
        ]
        assert stages[0] == stages[1]


def test_seconds_are_those_of_all_folds_of_a_seed(root: Path, outcome: Outcome) -> None:
    rows = {row["key"]: row for row in outcome.content["blocks"][0]["rows"]}
    logs = [root / f"out/runs/data/ce/seed-42/fold-{k}/metrics.jsonl" for k in (1, 2)]
    seconds = sum(pd.read_json(log, lines=True)["seconds"].sum() for log in logs)
    assert rows["ce"]["seconds"] == pytest.approx(seconds, abs=2e-3)


def test_a_seed_counts_once_all_its_folds_are_tested(root: Path, outcome: Outcome, tmp_path: Path) -> None:
    shutil.copytree(root / "out", tmp_path / "out")
    shutil.rmtree(tmp_path / "out/runs/data/ce/seed-42/fold-2")
    lines = [line for line in plan(request(root, "cv", tmp_path / "out")) if not line.startswith("caveat")]
    assert lines[:2] == ["data/ce/seed-42/fold-1: finished", "data/decoupling/seed-42/fold-1: finished"]
    assert lines[2] == "data/ce/seed-42/fold-2: missing"
    again = reproduce(request(root, "cv", tmp_path / "out", methods="decoupling"))
    rows = {row["key"]: row for row in again.content["blocks"][0]["rows"]}
    assert rows["ce"]["status"] == "not run"
    assert rows["decoupling"]["status"] == "run"


def test_repeated_folds_are_trials_of_one_seed(root: Path) -> None:
    out = reproduce(request(root, "both", root / "many", methods="ce"))
    (ce,) = [row for row in out.content["blocks"][0]["rows"] if row["key"] == "ce"]
    values = []
    for repeat in ("repeat-1", "repeat-2"):
        files = (root / "many/runs/data/ce/seed-42" / repeat).glob("fold-*/predictions-test.csv")
        answers = pd.concat(map(pd.read_csv, files))
        right = (answers["predicted"] == answers["label"]).groupby(answers["label"]).mean()
        values.append(100 * right.mean())
    assert ce["cells"]["recall"]["ours"]["value"] == pytest.approx(np.mean(values), abs=1e-4)
    assert (ce["seeds"], ce["n"]) == ([42], 87)
    assert any(line.startswith("One seed") for line in out.content["caveats"])


@pytest.mark.parametrize("name", ["fig4", "fig5"])
def test_a_projection_needs_one_data_set(name: str, root: Path) -> None:
    with pytest.raises(
        DataError, match=r"features of one model of each row, .* holds folds: name one .*fold-1"
    ):
        find_data(load(name), [str(root / "cv")])


def test_other_folds_are_other_data(root: Path, outcome: Outcome) -> None:
    one, two = (find_data(load("table1"), [str(root / name)])["data"] for name in ("cv", "both"))
    assert one.manifest_sha256 != two.manifest_sha256
    with pytest.raises(Exception, match="on other data"):
        plan(request(root, "both", root / "out"))
