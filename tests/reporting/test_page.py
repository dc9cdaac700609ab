"""Pages: self-contained, escaped, and with the numbers in them."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lmd.evaluation.evaluate import evaluate
from lmd.evaluation.results import Evaluation, write_evaluation
from lmd.model_card import ModelCard
from lmd.reporting.card import write_card
from lmd.reporting.comparison import comparison_lines, comparison_table, write_comparison
from lmd.reporting.report import write_report
from lmd.run_folder import FITTED
from lmd.text import FEW_NOTE, image_count

EARLIER = Path(__file__).parents[1] / "evaluation" / "evaluation-0.1.json"
CLASSES = ["common", "<script>alert(1)</script>", "rare $x$"]
BANDS = {"head": [CLASSES[0]], "medium": [CLASSES[1]], "tail": [CLASSES[2]]}


def evaluation(seed: int = 0) -> Evaluation:
    random = np.random.default_rng(seed)
    labels = np.r_[[0, 1, 2], random.choice(3, 80, p=[0.7, 0.2, 0.1])]
    scores = random.random((83, 3)) + np.eye(3)[labels]
    frame = pd.DataFrame(scores / scores.sum(1, keepdims=True), columns=[f"p_{name}" for name in CLASSES])
    frame["id"] = frame["group"] = [str(i) for i in range(83)]
    frame["label"] = [CLASSES[k] for k in labels]
    return evaluate(frame, CLASSES, BANDS, "test")


def card(title: str, source: str) -> ModelCard:
    """The card of a run on three classes."""
    return ModelCard.model_validate(
        {
            "method": "lmd",
            "encoder": "resnet18",
            "classifier": "linear",
            "classes": CLASSES,
            "bands": BANDS,
            "bands_rule": "by hand",
            "preprocessing": {"size": 64, "crop": "none", "mean": [0.5] * 3, "std": [0.25] * 3},
            "precision": "fp32",
            "training_counts": [70, 20, 7],
            "dataset": {"title": title, "source": source, "licence": "CC0", "manifest_sha256": "ab" * 32},
            "selected_by": "val_bacc",
            "validation_bacc": 0.625,
            "training_seconds": 90.0,
        }
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text(card("drawn things", "phantom").model_dump_json())
    (tmp_path / "settings.yaml").write_text(
        "method: lmd\ndata: d\nmanifest_sha256: x\nweights_sha256: null\nfrom_sha256: null\nsize: 64\nstage1:\n  epochs: 2\n"
    )
    (tmp_path / "environment.json").write_text('{"python": "3.11"}')
    records = [
        {"stage": "stage1", "epoch": 0, "losses": {"total": 2.0}, "validation": {"bacc": 0.4}, "seconds": 1},
        {"stage": "stage1", "epoch": 1, "losses": {"total": 1.0}, "validation": {"bacc": 0.5}, "seconds": 1},
        {"stage": "stage2", "epoch": 0, "losses": {"maximise": 0.7}, "validation": {}, "seconds": 1},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    write_evaluation(tmp_path / "evaluation-test.json", evaluation())
    return tmp_path


def rows(page: str) -> list[list[str]]:
    """The words of each row of each table of a page."""
    found = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in found]
    return [[html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in row] for row in cells]


def test_a_report_stands_alone_and_has_the_numbers(run: Path) -> None:
    page = write_report(run).read_text()
    result, shown = evaluation(), rows(write_report(run).read_text())
    assert ["balanced accuracy", str(result.metrics["bacc"])] in shown
    assert all(title in page for title in ("sensitivity", "specificity", "PPV", "NPV", "MCC"))
    assert "quadratic" not in page
    assert "macro recall" not in page
    for entry in result.classes:
        numbers = [f"{value:.3f}" for value in (entry.specificity, entry.ppv, entry.npv, entry.f1, entry.auc)]
        assert [entry.name, image_count(entry.n), entry.band, str(entry.recall), *numbers] in shown
    for name, band in result.bands.items():
        expected = [name, image_count(band.n), ", ".join(band.classes)]
        assert [*expected, str(band.recall), str(band.precision), str(band.f1)] in shown
    assert "drawn images, not real patients" in page
    assert "not a medical device" in page
    assert "stage1.epochs" in page
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert page.count("<svg") == 4  # Recall and training images; two kinds of loss; validation.


def test_the_evaluation_of_an_earlier_version_is_shown(run: Path) -> None:
    earlier = EARLIER.read_text().replace('"split": "test"', '"split": "val"')
    (run / "evaluation-val.json").write_text(earlier)
    page = write_report(run).read_text()
    assert "Split val: 12 images" in page
    shown = rows(page)
    assert ["melanoma", "3 *", "medium", "0.667 [0.500, 1.000]"] in [row[:4] for row in shown]
    assert ["tail", "3 *", "naïve <b>"] in [row[:3] for row in shown]
    assert "by 10 groups, 200 draws; split val" in page


def test_class_names_are_escaped(run: Path) -> None:
    page = write_report(run).read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_a_page_names_no_other_host(run: Path) -> None:
    """What stands in each drawing are names of SVG's parts: they are no addresses, and nothing is fetched."""
    text = write_report(run).read_text()
    assert "<svg" in text
    assert set(re.findall(r"https?://[^\s\"'<)]+", text)) <= {
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/2000/svg",
    }
    assert "<metadata" not in text


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("lmd", "LMD: relation-aware representation learning, then iterative classifier calibration."),
        (FITTED, "Virtual features: the encoder stays as it was, and a classifier is fitted to features"),
        ("mine.py", None),
    ],
)
def test_the_method_is_said_in_words(run: Path, method: str, words: str | None) -> None:
    made = card("drawn things", "phantom").model_copy(update={"method": method})
    (run / "model" / "model.json").write_text(made.model_dump_json())
    page, told = write_report(run).read_text(), write_card(run).read_text()
    if words is None:
        assert f"method: {method}; chosen" in told
    else:
        assert f"<p>{words}" in page
        assert f"method: {method} ({words.rstrip('.')}" in told


def test_equal_runs_give_equal_pages(run: Path) -> None:
    assert write_report(run).read_text() == write_report(run).read_text()


def test_a_run_without_evaluation_has_a_page_too(run: Path) -> None:
    (run / "evaluation-test.json").unlink()
    assert "Not evaluated yet" in write_report(run).read_text()


def test_methods_side_by_side(tmp_path: Path) -> None:
    runs = {"CE": evaluation(0), "LMD": evaluation(1)}
    rows = comparison_table(runs)
    assert [row[0] for row in rows] == [
        "balanced accuracy", "macro AUC", "macro F1", "MCC", "kappa", "macro precision",
        "head recall", "medium recall", "tail recall",
    ]  # fmt: skip
    assert rows[-1][1] == str(runs["CE"].bands["tail"].n)
    assert rows[-1][3] == str(runs["LMD"].bands["tail"].recall)
    page = write_comparison(tmp_path / "report.html", runs, "Title", "Note", phantom=True).read_text()
    assert all(word in page for word in ("Title", "Note", "CE", "LMD", "not real patients"))
    lines = comparison_lines(runs)
    assert [line.split("  ")[0].strip() for line in lines[1 : len(rows) + 1]] == [row[0] for row in rows]
    assert "95%" in lines[-1]


def test_fewer_than_ten_images_are_marked_and_the_mark_is_explained(run: Path) -> None:
    results = map(evaluation, range(100))
    result = next(found for found in results if found.classes[2].n < 10)
    write_evaluation(run / "evaluation-test.json", result)
    page = write_report(run).read_text()
    for entry in result.classes:
        shown = [entry.name, f"{entry.n}{' *' if entry.n < 10 else ''}"]
        assert shown in [row[:2] for row in rows(page)]
    assert FEW_NOTE in page
    lines = comparison_lines({"CE": result})
    assert (FEW_NOTE in lines) == any(line.endswith(" *") or " *  " in line for line in lines[:-1])
    large = {name: band.model_copy(update={"n": 20}) for name, band in result.bands.items()}
    assert FEW_NOTE not in comparison_lines({"CE": result.model_copy(update={"bands": large})})
    small = result.model_copy(
        update={"bands": large | {"tail": result.bands["tail"].model_copy(update={"n": 9})}}
    )
    assert FEW_NOTE in comparison_lines({"CE": small})
    bands = {row[0]: row[1] for row in comparison_table({"CE": result})}
    assert bands["tail recall"] == image_count(result.bands["tail"].n)


def test_a_band_that_another_evaluation_lacks_is_a_dash() -> None:
    """As after `evaluate` of an earlier version, or a file changed by hand."""
    result = evaluation()
    lacking = result.model_copy(update={"bands": {"head": result.bands["head"]}})
    rows = {row[0]: row for row in comparison_table({"CE": result, "old": lacking})}
    assert rows["tail recall"][2:] == [str(result.bands["tail"].recall), "-"]
    assert rows["head recall"][3] == str(result.bands["head"].recall)
    rows = {row[0]: row for row in comparison_table({"old": lacking, "CE": result})}
    assert rows["tail recall"][1:] == [
        image_count(result.bands["tail"].n),
        "-",
        str(result.bands["tail"].recall),
    ]


def test_a_metric_without_interval_has_its_reason_beside_it(run: Path) -> None:
    result = evaluation()
    assert result.metrics["auc"].low is None
    lines = comparison_lines({"CE": result})
    assert any(line.startswith("macro AUC") and "this metric needs" in line for line in lines)
    assert "Macro AUC" in write_report(run).read_text().split("this metric needs")[0].rpartition("<p")[2]
