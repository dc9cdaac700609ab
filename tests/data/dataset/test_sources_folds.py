"""Folds and repeats: every image is tested once, groups stay whole, and nothing is half written."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lmd.data.dataset import finish
from lmd.data.dataset.checks import crossing_groups
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.data.dataset.sources import folder, table
from lmd.errors import DataError, LmdError
from lmd.settings import resolve
from tests import toy


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Images of 24 patients; the rare class has two patients, of three images each."""
    (tmp_path / "images").mkdir()
    rows: list[dict[str, str]] = []
    for number in range(78):
        patient, label = f"p{number // 3}", "nevus" if number % 9 < 6 else "melanoma"
        label = "rare" if number >= 72 else label
        Image.fromarray(toy.draw(number % 3, number)).save(tmp_path / "images" / f"x{number}.png")
        rows.append({"image": f"x{number}.png", "label": label, "patient": patient})
    pd.DataFrame(rows).to_csv(tmp_path / "cases.csv", index=False)
    return tmp_path


def prepare(raw: Path, out: Path, **options: object) -> Dataset:
    told = {"root": raw / "images", "table": raw / "cases.csv", **options}
    return table.prepare(resolve(table.Options, told), out)


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_every_image_is_tested_once_and_patients_stay_whole(raw: Path, folds: int) -> None:
    first = prepare(raw, raw / "cv", folds=str(folds))
    assert first.folder == raw / "cv" / "fold-1"
    names = [f"fold-{fold}" for fold in range(1, folds + 1)]
    assert sorted(path.name for path in (raw / "cv").iterdir()) == [*names, "folds.json"]
    datasets = [read_dataset(raw / "cv" / name) for name in names]
    tested = pd.concat([dataset.split("test")["id"] for dataset in datasets])
    assert sorted(tested) == sorted(datasets[0].table["id"])
    for fold, dataset in enumerate(datasets, 1):
        assert len(dataset.table) == 78
        assert crossing_groups(dataset.table) == []
        assert dataset.counts("train").min() >= 1
        assert (dataset.info.recipe["fold"], dataset.info.recipe["folds"]) == (fold, folds)
        assert abs(len(dataset.split("test")) - 78 / folds) <= 6
        assert len(dataset.split("val")) == pytest.approx(len(dataset.table) * (1 - 1 / folds) / 8, abs=6)
    rare = np.array([dataset.counts("test")[dataset.classes.index("rare")] for dataset in datasets])
    assert sorted(rare)[-2:] == [3, 3]


def test_folds_differ_by_seed_and_are_the_same_by_the_same(raw: Path) -> None:
    def test_ids(name: str, seed: int) -> set[str]:
        return set(prepare(raw, raw / name, folds=3, seed=seed).split("test")["id"])

    assert test_ids("a", 1) == test_ids("b", 1)
    assert test_ids("a2", 1) != test_ids("c", 2)


def test_repeats_are_the_splits_of_the_next_seeds(raw: Path) -> None:
    prepare(raw, raw / "many", repeats="3", seed="7")
    for repeat in (1, 2, 3):
        dataset = read_dataset(raw / "many" / f"repeat-{repeat}")
        alone = prepare(raw, raw / f"alone-{repeat}", seed=6 + repeat)
        pd.testing.assert_frame_equal(dataset.table, read_dataset(alone.folder).table)
        assert (dataset.info.recipe["seed"], dataset.info.recipe["repeat"]) == (6 + repeat, repeat)


def test_repeated_folds(raw: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepare(raw, raw / "both", folds=2, repeats=2)
    for repeat in (1, 2):
        datasets = [read_dataset(raw / "both" / f"repeat-{repeat}" / f"fold-{fold}") for fold in (1, 2)]
        assert sorted(pd.concat([d.split("test")["id"] for d in datasets])) == sorted(datasets[0].table["id"])
    assert "4 dataset folders" in caplog.text


def test_images_by_themselves_tear_patients_and_it_is_said(
    raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = prepare(raw, raw / "cv", folds=3, split="image")
    assert dataset.info.recipe["leakage"]["test_images"] > 10
    assert "test images show one of the" in caplog.text
    assert dataset.counts("test").tolist() == [8, 16, 2]


def test_a_class_of_one_patient_has_no_folds(raw: Path) -> None:
    cases = pd.read_csv(raw / "cases.csv")
    cases.loc[cases["label"] == "rare", "patient"] = "p99"
    cases.to_csv(raw / "cases.csv", index=False)
    with pytest.raises(DataError, match="class 'rare' has images of a single group"):
        prepare(raw, raw / "cv", folds=2)
    assert not (raw / "cv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": "1"}, "folds = '1'"),
        ({"repeats": "0"}, "repeats = '0'"),
        ({"folds": "many"}, "folds = 'many'"),
    ],
)
def test_numbers_that_cannot_be(raw: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(LmdError, match=message):
        prepare(raw, raw / "cv", **options)


def test_nothing_is_left_where_one_fold_fails(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third folder finds the disk full."""
    written: list[Path] = []
    real = finish.write_dataset

    def full(folder: Path, *rest: object) -> Dataset:
        written.append(folder)
        if len(written) == 3:
            raise DataError("cannot write: No space left on device")
        return real(folder, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(finish, "write_dataset", full)
    before = sorted(raw.iterdir())
    with pytest.raises(DataError, match="No space left"):
        prepare(raw, raw / "cv", folds=4)
    assert len(written) == 3
    assert sorted(raw.iterdir()) == before


def test_a_used_output_is_left_alone(raw: Path) -> None:
    (raw / "cv").mkdir()
    (raw / "cv" / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match="not empty"):
        prepare(raw, raw / "cv", folds=2)
    assert [path.name for path in (raw / "cv").iterdir()] == ["mine.txt"]


def test_bad_images_are_left_out_of_every_fold(raw: Path) -> None:
    (raw / "images" / "x4.png").write_bytes(b"no image")
    prepare(raw, raw / "cv", folds=2, skip_bad=True)
    for fold in (1, 2):
        dataset = read_dataset(raw / "cv" / f"fold-{fold}")
        assert len(dataset.table) == 77
        assert "x4.png" in (dataset.folder / "skipped.csv").read_text()


def test_folds_of_class_folders(raw: Path) -> None:
    for number in range(40):
        place = raw / "sorted" / ["nevus", "melanoma"][number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (raw / "images" / f"x{number}.png").rename(place / f"x{number}.png")
    first = folder.prepare(folder.Options(root=raw / "sorted", folds=4), raw / "cv")
    assert first.counts("test").tolist() == [5, 5]
    assert first.info.image_root == str((raw / "sorted").resolve())
