"""Phantoms: a learnable long tail, drawn whole or not at all, and the same on every machine's next run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmd.data.dataset.checks import COLUMNS, crossing_groups
from lmd.data.dataset.manifest import read_dataset
from lmd.data.dataset.sources import phantom
from lmd.data.dataset.sources.phantom import CLASSES, Options, class_counts, draw
from lmd.errors import DataError, SettingsError
from lmd.settings import resolve

SMALL = Options(images=60, imbalance=20, val_per_class=2, test_per_class=7, size=24)


def test_the_defaults_are_long_tailed_with_a_test_split_that_can_measure() -> None:
    counts = class_counts(Options())
    assert (np.diff(counts) < 0).all()
    assert counts[0] / counts[-1] == pytest.approx(100, rel=0.01)
    assert 1_500 <= counts.sum() <= 2_500
    assert Options().test_per_class >= 25


def test_the_folder_is_whole_and_says_what_it_is(tmp_path: Path) -> None:
    phantom.prepare(SMALL, tmp_path / "data")
    dataset = read_dataset(tmp_path / "data")
    assert "not real patients" in dataset.info.title
    assert "same number of images of each class" in dataset.info.recipe["design"]
    assert "fractions" not in dataset.info.recipe  # They had no say.
    assert list(dataset.table.columns[:5]) == list(COLUMNS)
    assert dataset.counts("train").tolist() == class_counts(SMALL).tolist()
    assert dataset.counts("test").tolist() == [7] * 8
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "dataset.json",
        "images",
        "manifest.csv",
    ]


def test_some_lesions_have_two_images_and_none_crosses(tmp_path: Path) -> None:
    table = phantom.prepare(SMALL, tmp_path / "data").table
    sizes = table["group"].value_counts()
    assert set(sizes) == {1, 2}
    assert crossing_groups(table) == []
    assert (table.groupby("group")["label"].nunique() == 1).all()


def test_a_picture_is_a_function_of_its_arguments() -> None:
    first = draw("elm", "lesion", "a", 32, 1)
    assert (first.shape, first.dtype) == ((32, 32, 3), np.uint8)
    np.testing.assert_array_equal(draw("elm", "lesion", "a", 32, 1), first)
    for other in (("elm", "lesion", "b", 32, 1), ("elm", "other", "a", 32, 1), ("elm", "lesion", "a", 32, 2)):
        assert not np.array_equal(draw(*other), first)


def test_two_images_of_a_lesion_are_more_alike_than_two_lesions() -> None:
    def colour(group: str, identity: str) -> np.ndarray:
        return draw("birch", group, identity, 32, 0)[10:22, 10:22].mean((0, 1))

    same = [np.abs(colour(f"l{n}", "a") - colour(f"l{n}", "b")).mean() for n in range(30)]
    other = [np.abs(colour(f"l{n}", "a") - colour(f"m{n}", "b")).mean() for n in range(30)]
    assert np.mean(same) < np.mean(other)


def _features(label: str, count: int, seed: int) -> np.ndarray:
    """Small pictures and their colour spread, flattened: crude, so that a limit is not a matter of tuning."""
    pictures = [draw(label, f"{label}{n}", f"{label}{n}", 32, seed) for n in range(count)]
    small = [np.asarray(Image.fromarray(picture).resize((8, 8))) for picture in pictures]
    rows = [np.r_[s.mean((0, 1)), s.std((0, 1)), s[3:5, 3:5].mean((0, 1))] for s in small]
    return np.array(rows, dtype=float)


def test_every_class_can_be_told_but_none_without_error() -> None:
    """Nearest class mean on new drawings: each class better than chance, the whole far from perfect."""
    train = [_features(name, 60, 0) for name in CLASSES]
    spread = np.concatenate(train).std(0)
    means = np.stack([rows.mean(0) for rows in train]) / spread
    recalls = []
    for k, name in enumerate(CLASSES):
        rows = _features(name, 60, 1) / spread
        nearest = np.linalg.norm(rows[:, None] - means[None], axis=2).argmin(1)
        recalls.append(float((nearest == k).mean()))
    assert min(recalls) > 0.125
    assert 0.25 < np.mean(recalls) < 0.85


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_end_half_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    real, calls = Image.Image.save, []

    def breaks(self: Image.Image, *arguments: object, **options: object) -> None:
        calls.append(1)
        if len(calls) == 9:
            raise error
        real(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "save", breaks)
    with pytest.raises((DataError, KeyboardInterrupt)):
        phantom.prepare(SMALL, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    phantom.prepare(SMALL, tmp_path / "data")  # And the same folder can be asked for again.


def test_a_used_folder_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="not empty"):
        phantom.prepare(SMALL, tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["images"]


@pytest.mark.parametrize("name", ["split", "fractions"])
def test_a_split_that_would_do_nothing_is_refused(name: str) -> None:
    value = {"split": "image", "fractions": "0.8,0.1,0.1"}[name]
    with pytest.raises(SettingsError, match=f"{name}.*come with their splits"):
        resolve(Options, {name: value})


def test_progress_counts_every_image(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    dataset = phantom.prepare(SMALL, tmp_path / "data", lambda done, total: told.append((done, total)))
    assert told[-1] == (len(dataset.table), len(dataset.table))
    assert told == sorted(told)
