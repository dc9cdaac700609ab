"""Rows of a benchmark: every image counts once, lesions are groups, seeds are averaged, differences paired."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import equal_time, few_images, small_data
from benchmarks.rows import Answers, Row, answers_of, report, table

FIRST, SECOND = slice(0, 24), slice(24, 48)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions of two folds: `good` knows the classes, `bad` says "a" of every image."""
    place = tmp_path_factory.mktemp("work")
    images = [(f"{label}{n:02d}.jpg", label, f"{label}{n // 2}") for n in range(24) for label in "ab"]
    drawn = pd.DataFrame(images, columns=["file", "label", "lesion"])
    drawn.to_csv(place / "drawn.csv", index=False)
    for name in ("good", "bad"):
        for number, part in enumerate((FIRST, SECOND)):
            _write(place / name / f"fold-{number}", drawn[part], name == "good", 2.0 + number)
    return place


def _write(out: Path, images: pd.DataFrame, knows: bool, seconds: float) -> None:
    out.mkdir(parents=True)
    said = images["label"] if knows else pd.Series("a", index=images.index)
    answers = pd.DataFrame({"id": images["file"], "label": images["label"], "group": "g0"})
    answers = answers.assign(predicted=said, p_a=(said == "a") * 1.0, p_b=(said == "b") * 1.0)
    answers.to_csv(out / "predictions-test.csv", index=False)
    (out / "metrics.jsonl").write_text(json.dumps({"seconds": seconds}) + "\n")


def _of(work: Path, name: str) -> Answers:
    return answers_of([work / name / f"fold-{number}" for number in range(2)], work / "drawn.csv")


def test_every_image_counts_once_and_lesions_are_groups(work: Path) -> None:
    found = _of(work, "bad")
    assert len(found.cases.labels) == 48
    assert len(set(found.cases.clusters)) == 24
    assert found.seconds == [2.0, 3.0]


def test_a_row_is_the_mean_of_its_seeds(work: Path) -> None:
    tree = report({"mixed": [_of(work, "good"), _of(work, "bad")]}, [], None)
    (row,) = tree["rows"]
    assert row["metrics"]["bacc"]["value"] == 0.75
    assert row["bacc_by_seed"] == [1.0, 0.5]
    assert row["recall"] == {"a": [1.0, 24], "b": [0.5, 24]}


def test_differences_are_of_the_same_images(work: Path, tmp_path: Path) -> None:
    found = {name: [_of(work, name)] for name in ("good", "bad")}
    tree = report(found, [("good", "bad")], tmp_path / "table.json")
    one = tree["differences"]["good - bad"]
    assert one["value"] == 0.5
    assert 0.2 < one["low"] < 0.5 < one["high"]
    assert json.loads((tmp_path / "table.json").read_text()) == tree


def test_the_table_has_a_row_for_each(work: Path) -> None:
    tree = report({name: [_of(work, name)] for name in ("good", "bad")}, [], None)
    lines = table(tree["rows"])
    assert len(lines) == 4
    assert lines[-1].startswith("| bad | 0.500 ")
    assert lines[-1].endswith("| 2 |")  # The mean of 2 and 3 seconds, to the even.


def test_rows_that_build_on_another_follow_it_in_one_task() -> None:
    """A first stage that is taken over has been trained by the same process before."""
    lists = [
        small_data.tasks(Path("w"), small_data.ROWS, 5, [42, 43], None),
        equal_time.tasks(Path("w"), [42], None),
        few_images.tasks(Path("w"), [42], None),
    ]
    assert [len(tasks) for tasks in lists] == [2 * 4 * 5, 4, 2 * len(few_images.ROWS)]
    for task in (task for tasks in lists for task in tasks):
        for place, row in enumerate(task.rows):
            assert row.start is None or row.start in [before.name for before in task.rows[:place]]


def test_every_row_has_a_name_of_its_own() -> None:
    for rows in (small_data.ROWS, equal_time.ROWS, few_images.ROWS):
        names = [row.name for row in rows]
        assert len(set(names)) == len(names)
    assert Row("ce", "auto", title="stem").name == "ce-stem"
