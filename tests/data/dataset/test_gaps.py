"""What the splits of a data set lack is said when it is prepared, with what it means and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

import lmd
from tests import toy

Rows = list[tuple[str, ...]]


def said(tmp_path: Path, caplog: pytest.LogCaptureFixture, rows: Rows, **options: Any) -> list[str]:
    """What prepare says of a table: rows of label, patient and, where it is given, split."""
    (tmp_path / "images").mkdir()
    for number in range(len(rows)):
        Image.fromarray(toy.draw(number % 3, number)).save(tmp_path / "images" / f"{number}.png")
    table = pd.DataFrame(rows, columns=["label", "patient", "split"][: len(rows[0])])
    table.insert(0, "image", [f"{number}.png" for number in range(len(rows))])
    table.to_csv(tmp_path / "cases.csv", index=False)
    caplog.clear()
    lmd.prepare("table", tmp_path / "d", root=tmp_path / "images", table=tmp_path / "cases.csv", **options)
    rooms = ("lmd.data.dataset.gaps", "lmd.data.dataset.folds", "lmd.data.dataset.finish")
    return [record.getMessage() for record in caplog.records if record.name in rooms]


def given(**splits: str) -> Rows:
    """Rows of a table with splits: of each split a letter for each image, which is its class."""
    return [
        (label, f"{split}{n}", split) for split, labels in splits.items() for n, label in enumerate(labels)
    ]


def test_one_patient_leaves_validation_and_test_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [("ab"[number % 2], "Ann Smith") for number in range(24)]
    why = " (all 24 images are one group, such as a patient, which is not divided)"
    assert said(tmp_path, caplog, rows) == [
        f"validation is empty: it cannot choose an epoch, training keeps the last one{why}",
        f"the test is empty: nothing can be evaluated{why}",
    ]


def test_nothing_is_said_where_nothing_lacks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert said(tmp_path, caplog, given(train="aabb", val="aabb", test="aabb")) == []


def test_absent_classes_and_classes_of_one_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert said(tmp_path, caplog, given(train="aabbcc", val="aab", test="abb")) == [
        "validation has no image of class c: the epoch is chosen without its recall",
        "validation has 1 image of class b: its recall there can only be 0 or 1",
        "test has no image of class c: its recall cannot be measured",
        "test has 1 image of class a: its recall can only be 0 or 1",
    ]


def test_several_classes_are_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert said(tmp_path, caplog, given(train="abcde", val="aabbccddee", test="aabc")) == [
        "test has no image of 2 classes (d, e): their recall cannot be measured",
        "test has 1 image of each of 2 classes (b, c): the recall of each can only be 0 or 1",
    ]


def test_a_class_of_one_patient_is_said_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [("ab"[number % 2], f"p{number}") for number in range(60)] + [("rare", "Ann Smith")] * 3
    why = " (its images are one group, such as a patient, which is not divided)"
    assert said(tmp_path, caplog, rows) == [
        f"validation has no image of class rare: the epoch is chosen without its recall{why}",
        f"test has no image of class rare: its recall cannot be measured{why}",
    ]


def test_the_reason_names_the_classes_that_it_is_true_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [("ab"[number % 2], f"p{number}") for number in range(60)]
    rows += [("one", "x")] * 3 + [("two", "y"), ("two", "z")]
    assert said(tmp_path, caplog, rows)[0] == (
        "validation has no image of 2 classes (one, two): the epoch is chosen without their recall "
        "(the images of one are one group, such as a patient, which is not divided)"
    )


def test_folds_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [("ab"[number % 2], f"p{number}") for number in range(60)] + [("rare", f"r{n}") for n in range(2)]
    lines = said(tmp_path, caplog, rows, folds=5)
    assert [line for line in lines if "rare" in line] == [
        "in 2 of 5 data sets validation has no image of class rare: the epoch is chosen without its recall",
        "in 3 of 5 data sets validation has 1 image of class rare: its recall there can only be 0 or 1",
        "in 3 of 5 data sets test has no image of class rare: its recall cannot be measured",
        "in 2 of 5 data sets test has 1 image of class rare: its recall can only be 0 or 1",
    ]
    assert len(lines) == 5  # The first says which folders there are.


def test_leaks_of_repeats_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [("ab"[number % 2], f"p{number // 4}") for number in range(80)]
    lines = said(tmp_path, caplog, rows, repeats=3, split="image")
    assert [
        line.endswith("too (in 3 of 3 data sets)") for line in lines if "training images show" in line
    ] == [True]


def test_folds_without_a_share_of_training_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [("ab"[number % 2], f"p{number}") for number in range(20)]
    with pytest.raises(lmd.DataError, match="folds need images to train on: --fractions 0,0,1"):
        said(tmp_path, caplog, rows, folds=2, fractions="0,0,1")
    assert not (tmp_path / "d").exists()
