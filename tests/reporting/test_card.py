"""The model card: what was trained, on what, how well, and its limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmd.errors import CheckpointError
from lmd.evaluation.results import write_evaluation
from lmd.reporting.card import write_card
from lmd.text import image_count
from tests.reporting.test_page import card, evaluation


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text(card("things | drawn", "table").model_dump_json())
    return tmp_path


def test_a_card_has_the_numbers_with_their_n(run: Path) -> None:
    write_evaluation(run / "evaluation-test.json", evaluation())
    text = write_card(run).read_text()
    result = evaluation()
    tail, rare = result.bands["tail"], result.classes[2]
    assert f"| balanced accuracy | {result.n} | {result.metrics['bacc']} |" in text
    assert f"| tail recall | {image_count(tail.n)} | {tail.recall} |" in text
    assert rf"| recall of rare \$x\$ | {image_count(rare.n)} | {rare.recall} |" in text
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


def test_the_model_json_of_an_earlier_version_is_read(run: Path) -> None:
    """It called the bands groups and the classifier head; what is written has today's names."""
    told = json.loads((run / "model" / "model.json").read_text())
    names = {"bands": "groups", "bands_rule": "groups_rule", "classifier": "head"}
    earlier = {names.get(name, name): value for name, value in told.items()}
    assert {"groups", "groups_rule", "head"} <= set(earlier)
    expected = write_card(run).read_text()
    (run / "model" / "model.json").write_text(json.dumps(earlier))
    assert write_card(run).read_text() == expected
    assert r"| rare \$x\$ | tail | 7 |" in expected


def test_an_unfinished_run_has_no_card(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no trained model"):
        write_card(tmp_path)
    assert not (tmp_path / "MODEL_CARD.md").exists()
