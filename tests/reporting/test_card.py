"""The model card: what was trained, on what, how well, and its limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.report.test_page import CLASSES, GROUPS, evaluation

from lmd.errors import CheckpointError
from lmd.evaluation.evaluate import write_evaluation
from lmd.reporting.card import write_card

CARD = {
    "method": "lmd",
    "encoder": "resnet18",
    "head": "linear",
    "classes": CLASSES,
    "groups": GROUPS,
    "groups_rule": "by hand",
    "preprocessing": {"size": 64, "crop": "none"},
    "training_counts": [70, 20, 7],
    "training_seconds": 90.0,
    "validation_bacc": 0.625,
    "dataset": {
        "title": "things | drawn", "source": "table", "licence": "CC0", "manifest_sha256": "ab" * 32,
    },
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text(json.dumps(CARD))
    return tmp_path


def test_a_card_has_the_numbers_with_their_n(run: Path) -> None:
    write_evaluation(run / "evaluation-test.json", evaluation())
    text = write_card(run).read_text()
    result = evaluation()
    bacc = result["metrics"]["bacc"]
    assert f"| balanced accuracy | {result['n']} | {bacc['value']:.3f} [{bacc['low']:.3f}" in text
    tail = result["groups"]["tail"]
    assert f"| tail recall | {tail['n']} | {tail['recall']['value']:.3f}" in text
    assert "validation balanced accuracy (0.625)" in text
    assert "was learned from 7 images" in text
    assert "Not a medical device" in text


def test_a_card_without_an_evaluation_claims_nothing(run: Path) -> None:
    text = write_card(run).read_text()
    assert "Measured on" not in text
    assert "## Limits" in text


def test_names_cannot_break_the_card(run: Path) -> None:
    text = write_card(run).read_text()
    assert "things \\| drawn" in text
    assert "<script>" not in text


def test_an_unfinished_run_has_no_card(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no trained model"):
        write_card(tmp_path)
    assert not (tmp_path / "MODEL_CARD.md").exists()
