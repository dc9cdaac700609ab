"""The small data sets of the benchmarks: so many images of each class, whole lesions, by a seed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.drawn import CLASSES, IMAGES, METADATA, TRUTH, draw, real_images, wanted_counts


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rows = [(f"{label}{n}.jpg", label, f"{label}-{n // 2}") for label in "ab" for n in range(40)]
    return pd.DataFrame(rows, columns=["file", "label", "lesion"])


def test_classes_are_drawn_at_their_shares_and_rare_ones_at_the_least() -> None:
    labels = pd.Series(["a"] * 6705 + ["b"] * 1113 + ["c"] * 115)
    assert wanted_counts(labels, 347, 12) == {"a": 287, "b": 48, "c": 12}


def test_lesions_stay_whole_but_for_the_last(table: pd.DataFrame) -> None:
    drawn = draw(table, {"a": 7, "b": 4}, seed=1)
    assert drawn["label"].value_counts().to_dict() == {"a": 7, "b": 4}
    sizes = drawn.groupby(["label", "lesion"]).size()
    assert sizes["a"].tolist().count(1) == 1
    assert sizes["b"].tolist() == [2, 2]


def test_the_seed_alone_says_what_is_drawn(table: pd.DataFrame) -> None:
    first = draw(table, {"a": 6, "b": 6}, seed=1)
    assert first.equals(draw(table, {"b": 6, "a": 6}, seed=1))
    assert not first.equals(draw(table, {"a": 6, "b": 6}, seed=2))


def test_only_images_that_are_there_count(tmp_path: Path) -> None:
    truth = pd.DataFrame({"image": ["one", "two", "gone"], **{name: [0, 0, 0] for name in CLASSES}})
    truth.loc[0, "NV"] = truth.loc[1, "DF"] = truth.loc[2, "NV"] = 1
    truth.to_csv(tmp_path / TRUTH, index=False)
    pd.DataFrame({"image": ["one", "two", "gone"], "lesion_id": ["L1", None, "L2"]}).to_csv(
        tmp_path / METADATA, index=False
    )
    (tmp_path / IMAGES).mkdir()
    for name in ("one", "two"):
        (tmp_path / IMAGES / f"{name}.jpg").touch()
    found = real_images(tmp_path)
    assert found.to_numpy().tolist() == [["one.jpg", "NV", "L1"], ["two.jpg", "DF", "two"]]
