"""`lmd reproduce --tau`: one rule of decision for all rows, and the same runs for every rule."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

import lmd.training.loop
from lmd.errors import SettingsError
from lmd.experiments.engine import reproduce
from lmd.experiments.request import Request, asked, check
from lmd.experiments.rule import tau_of
from lmd.experiments.runs import all_runs
from lmd.run import read_identity, read_model_card
from lmd.seals import sealed_json
from lmd.settings import Tree
from tests.command import Command, refused
from tests.experiments.phantoms import COMMON, draw_phantoms, request_of, words_for


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> Request:
    """CE and LMD on phantoms, whose budget gives LMD a tau of 0.75; trained under the rule 0."""
    root = draw_phantoms(tmp_path_factory.mktemp("rule"))
    made = request_of(root, "table3", methods="ce,lmd", data=("100=first",))
    reproduce(made)
    return made


def table(request: Request, rule: str, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """The table under a rule; nothing is trained for it."""
    monkeypatch.delattr(lmd.training.loop.Trainer, "run")
    outcome = reproduce(replace(request, tau=rule))
    assert not outcome.failures
    return outcome.content


def cell(content: Tree, row: str, metric: str = "bacc") -> float:
    rows = {row["key"]: row for row in content["blocks"][0]["rows"]}
    return rows[row]["cells"][metric]["ours"]["value"]


def by_hand(request: Request, row: str, tau: float) -> float:
    """Balanced accuracy in percent of the largest s - tau log pi, from the files."""
    run = next(run for run in all_runs(check(request)) if run.row.key == row)
    card = read_model_card(run.folder)
    answers = pd.read_csv(run.folder.predictions("test"))
    shares = np.array(card.training_counts) / sum(card.training_counts)
    logits = np.log(answers.filter(regex="^p_").to_numpy()) * card.outputs.temperature
    decided = np.array(card.classes)[(logits - tau * np.log(shares)).argmax(1)]
    return 100 * float(balanced_accuracy_score(answers["label"], decided))


@pytest.mark.parametrize(("rule", "of_lmd"), [("0", 0.0), ("own", 0.75), ("validation", None)])
def test_every_row_decides_by_the_rule_and_ranks_as_before(
    rule: str, of_lmd: float | None, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = table(request_, rule, monkeypatch)
    runs = {run.row.key: run for run in all_runs(check(request_)) if run.row.key in ("ce", "lmd")}
    chosen = {key: read_model_card(run.folder).outputs.tau_validation for key, run in runs.items()}
    taus = {"ce": 0.0, "lmd": of_lmd} if of_lmd is not None else chosen
    for key, tau in taus.items():
        assert tau is not None
        assert cell(content, key) == pytest.approx(by_hand(request_, key, tau), abs=1e-4), key
        row = next(row for row in content["blocks"][0]["rows"] if row["key"] == key)
        assert row["tau"] == [tau]
    assert content["tau"] == rule
    told = {"0": "tau = 0 in every row, as published", "own": "--tau own", "validation": "--tau validation"}
    assert told[rule] in (request_.out / "table.md").read_text()
    again = reproduce(request_).content
    assert all(cell(content, key, "auc") == cell(again, key, "auc") for key in taus)


def test_runs_are_trained_without_a_shift(request_: Request) -> None:
    for run in all_runs(check(request_)):
        if run.finished:
            assert read_identity(run.folder)["settings"]["tau"] == 0.0
            assert read_model_card(run.folder).outputs.tau == 0.0


def test_of_a_card_that_does_not_say_validation_is_asked(request_: Request) -> None:
    run = next(run for run in all_runs(check(request_)) if run.row.key == "ce")
    text = run.folder.model.read_text()
    card = json.loads(text)
    known = card["outputs"].pop("tau_validation")
    del card["sha256"]
    try:
        run.folder.model.write_text(sealed_json(card))
        assert tau_of(run, "validation") == known
    finally:
        run.folder.model.write_text(text)


def test_a_rule_that_is_none_is_refused(request_: Request, lmd: Command) -> None:
    refused(lmd(*words_for(replace(request_, tau="0.75"))), "unknown tau '0.75'")
    refused(lmd(*words_for(request_), "--set", "tau=0.5"), "--set tau: use --tau")
    with pytest.raises(SettingsError, match=r"--tau best: must be one of 0, own, validation"):
        check(replace(request_, tau="best"))
    assert asked("table3", request_.data, Path("out"), {"tau": 0}).tau == "0"


def test_a_data_set_without_validation_images_is_named(request_: Request, tmp_path: Path) -> None:
    from tests import toy

    data = toy.make_dataset(tmp_path, {"train": [9, 4, 3], "val": [0, 0, 0], "test": [2, 2, 2]})
    request = Request("table5", [str(data.folder)], tmp_path / "out", overrides=COMMON, tau="validation")
    with pytest.raises(SettingsError, match=r"--tau validation: .* has no validation image"):
        check(request)
    check(replace(request, tau="own"))
