"""The report of a folds run: figures of the pooled predictions, and the worst mistakes over all folds."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from lmd.data.dataset.folds_folder import Folds
from lmd.errors import DataError
from lmd.evaluation.results import read_evaluation
from lmd.folds.folder import read_folds_run
from lmd.folds.pictures import pictures_of_folds
from lmd.folds.report import write_folds_report
from tests import toy
from tests.command import Command, refused


def test_a_report_tells_of_each_fold_and_shows_the_worst_mistakes_of_all(
    lmd: Command, folds: Folds, run: Path
) -> None:
    code, out, _ = lmd("report", run)
    assert code == 0
    assert f"was not measured on its folds: run 'lmd evaluate {run}' first" in out
    each_fold_is_told(folds, run, lmd("evaluate", run)[1])
    table = pd.read_csv(run / "predictions-test.csv", dtype={"id": str})
    table["own"] = [row[f"p_{row['label']}"] for _, row in table.iterrows()]
    wrong = table[table["predicted"] != table["label"]].sort_values("own", kind="stable")
    assert wrong["fold"].nunique() > 1
    found = pictures_of_folds(read_folds_run(run))
    assert [case.id for case in found.top] == wrong["id"].tolist()[:12]
    for case, (_, row) in zip(found.top, wrong.iterrows(), strict=False):
        assert case.words == (
            f"{row['label']} (probability {row['own']:.3f}) was taken for {row['predicted']} "
            f"({row['p_' + row['predicted']]:.3f})."
        )
        near = [shown.caption for shown in case.pictures if shown.caption.startswith("near: ")]
        assert len(near) == 3
    counts = table["label"].value_counts()
    mistakes = wrong["label"].value_counts()
    assert {one.name: (one.wrong, one.of) for one in found.wrong} == {
        name: (mistakes.get(name, 0), counts[name]) for name in toy.CLASSES
    }
    assert found.plane is None
    page = write_folds_report(read_folds_run(run), found).read_text()
    assert page.count("data:image/jpeg") > 20
    assert "The worst mistakes" in page
    for figure in ("ROC curves", "precision-recall curves", "training images and recall of each class"):
        assert f'aria-label="{figure}"' in page
    refused(lmd("report", run, "--split", "val"), "--split val: the folds of", "take --split test")
    refused(lmd("report", run, "--data", folds.folder / "fold-1"), "is one data set", "leave --data out")
    evaluation = json.loads((run / "evaluation-test.json").read_text())
    other = {"title": "other", "manifest_sha256": "0" * 64}
    (run / "evaluation-test.json").write_text(json.dumps({**evaluation, "data": other}))
    with pytest.raises(DataError, match="last measured on another data set"):
        pictures_of_folds(read_folds_run(run))


def each_fold_is_told(folds: Folds, run: Path, out: str) -> None:
    """Each fold stands beside the pooled numbers, in what is printed and on both pages."""
    result = read_evaluation(run / "evaluation-test.json")
    assert result.folds is not None
    for name in folds.names:
        alone = read_evaluation(run / name / "evaluation-test.json").metrics["bacc"]
        assert result.folds.bacc[name] == alone
        line = next(line for line in out.splitlines() if line.startswith(name))
        assert str(alone) in line
        for page in ("report.html", "MODEL_CARD.md"):
            assert str(alone) in (run / page).read_text(), (name, page)
    page = (run / "report.html").read_text()
    assert "ce on cases: 3 folds" in page
    assert page.count("<details><summary>fold-") == 3
    assert str(result.metrics["bacc"]) in (run / "MODEL_CARD.md").read_text()
