"""Predictions of folds are pooled: every image once, lesions as groups, differences paired."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.small_data import Row, differences, folder, pooled, table, train
from tests.folds.conftest import make_folds, write_raw

GOOD, BAD = Row("ce", "auto"), Row("ce", "short")
IMAGES = [(f"{label}{n}.jpg", label, f"{label}{n // 2}") for label in "ab" for n in range(20)]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds of two rows: one that knows the classes, and one that says "a" of every image."""
    place = tmp_path_factory.mktemp("work")
    drawn = pd.DataFrame(IMAGES, columns=["file", "label", "lesion"])
    drawn.to_csv(place / "drawn.csv", index=False)
    for row in (GOOD, BAD):
        for fold in range(2):
            out = folder(place, row.name, fold)
            out.mkdir(parents=True)
            mine = drawn[np.arange(len(drawn)) // 2 % 2 == fold]
            said = mine["label"] if row is GOOD else pd.Series("a", index=mine.index)
            answers = pd.DataFrame({"id": mine["file"], "label": mine["label"], "group": "g0"})
            answers = answers.assign(predicted=said, p_a=(said == "a") * 1.0, p_b=(said == "b") * 1.0)
            answers.to_csv(out / "predictions-test.csv", index=False)
            (out / "metrics.jsonl").write_text(json.dumps({"seconds": 2.0 + fold}) + "\n")
    return place


def test_every_image_counts_once(work: Path) -> None:
    found = pooled(work, BAD, 2)
    assert found["cases"] == 40
    assert found["metrics"]["bacc"]["value"] == 0.5
    assert found["recall"] == {"a": [1.0, 20], "b": [0.0, 20]}
    assert found["seconds"] == [2.0, 3.0]
    assert pooled(work, GOOD, 1)["cases"] == 20


def test_differences_are_those_of_the_same_images(work: Path) -> None:
    (name, one), *_ = differences(work, [(GOOD, BAD)], 2).items()
    assert name == "ce-auto - ce-short"
    assert one["value"] == 0.5


def test_the_table_has_a_row_for_each(work: Path) -> None:
    lines = table([pooled(work, row, 2) for row in (GOOD, BAD)])
    assert len(lines) == 4
    assert lines[-1].startswith("| ce-short | 0.500 ")
    assert lines[-1].endswith("| 2 |")  # The mean of 2 and 3 seconds, to the even.


def test_the_folds_that_prepare_makes_are_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Their numbers begin with 1."""
    told: list[tuple[str, ...]] = []
    monkeypatch.setattr("benchmarks.small_data.run", lambda *words: told.append(words))
    made = make_folds(write_raw(tmp_path / "raw"), tmp_path / "data", folds=2)
    for fold in range(2):
        train(tmp_path, GOOD, fold, None)
    trained = [Path(words[1]) for words in told if words[0] == "train"]
    assert trained == [data.folder for data in made.datasets.values()]
