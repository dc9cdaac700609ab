"""Sources: phantoms, tables, folders, and the real ISIC 2019 images where they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lmd.data.audit.fingerprint import fingerprint
from lmd.data.audit.text import format_fingerprint
from lmd.data.dataset.checks import COLUMNS, crossing_groups
from lmd.data.dataset.manifest import read_dataset
from lmd.data.dataset.sources import folder, isic2019, phantom, table
from lmd.data.decode.cache import open_cache
from lmd.errors import DataError
from tests import toy

SMALL = phantom.Options(images=60, imbalance=20, val_per_class=2, test_per_class=7, size=24)


def test_phantoms_are_long_tailed_drawn_and_said_to_be(tmp_path: Path) -> None:
    dataset = phantom.prepare(SMALL, tmp_path / "data")
    counts = dataset.counts("train")
    assert (counts[0], counts[-1]) == (60, 3)
    assert (np.diff(counts) < 0).all()
    assert dataset.counts("test").tolist() == [7] * 8
    assert "not real patients" in dataset.info.title
    assert list(dataset.table.columns[:5]) == list(COLUMNS)
    assert dataset.table["group"].nunique() < len(dataset.table)  # Some lesions have two images.
    assert crossing_groups(dataset.table) == []
    assert read_dataset(tmp_path / "data").info == dataset.info


def test_phantoms_are_a_function_of_the_seed(tmp_path: Path) -> None:
    first = open_cache(phantom.prepare(SMALL, tmp_path / "a"), 24)
    again = open_cache(phantom.prepare(SMALL, tmp_path / "b"), 24)
    other = open_cache(phantom.prepare(SMALL.model_copy(update={"seed": 1}), tmp_path / "c"), 24)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_phantom_classes_overlap_but_differ(tmp_path: Path) -> None:
    """A linear rule on the mean colour is better than chance and far from perfect."""
    dataset = phantom.prepare(SMALL.model_copy(update={"test_per_class": 40}), tmp_path / "a")
    pixels = open_cache(dataset, 24)[(dataset.table["split"] == "test").to_numpy()]
    colour = pixels[:, :, 8:16, 8:16].mean((2, 3))
    labels = dataset.labels("test")
    means = np.stack([colour[labels == k].mean(0) for k in range(8)])
    nearest = np.linalg.norm(colour[:, None] - means[None], axis=2).argmin(1)
    assert 0.2 < (nearest == labels).mean() < 0.8


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Images in one folder, and a table that describes them."""
    root = tmp_path / "images"
    root.mkdir()
    rows: list[dict[str, str]] = []
    for number in range(40):
        Image.fromarray(toy.draw(number % 2, number)).save(root / f"x{number}.png")
        rows.append(
            {
                "image": f"x{number}",
                "dx": ["nevus", "melanoma"][number % 2],
                "patient_id": f"p{number // 4}",
                "age": "50",
            }
        )
    pd.DataFrame(rows).to_csv(tmp_path / "cases.csv", index=False)
    return tmp_path


def test_a_table_with_guessed_columns(raw: Path) -> None:
    options = table.Options(root=raw / "images", table=raw / "cases.csv")
    dataset = table.prepare(options, raw / "data")
    assert dataset.classes == ["melanoma", "nevus"]
    assert len(dataset.table) == 40
    assert dataset.table["group"].nunique() == 10
    assert crossing_groups(dataset.table) == []
    assert dataset.table["age"].unique().tolist() == ["50"]
    assert dataset.table["file"][0] == "x0.png"


def test_a_table_with_a_split_column(raw: Path) -> None:
    cases = pd.read_csv(raw / "cases.csv")
    cases["split"] = ["training"] * 24 + ["validation"] * 4 + ["TEST"] * 12
    cases.to_csv(raw / "cases.csv", index=False, sep=",", encoding="utf-8-sig")
    dataset = table.prepare(table.Options(root=raw / "images", table=raw / "cases.csv"), raw / "data")
    assert [len(dataset.split(name)) for name in ("train", "val", "test")] == [24, 4, 12]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_column": "diagnos"}, "no column 'diagnos'; known"),
        ({"group_column": "patient"}, "did you mean 'patient_id'"),
    ],
)
def test_wrong_columns_are_named(raw: Path, change: dict[str, str], message: str) -> None:
    options = table.Options(root=raw / "images", table=raw / "cases.csv", **change)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        table.prepare(options, raw / "data")


def test_missing_labels_images_and_split_words_are_named(raw: Path) -> None:
    cases = pd.read_csv(raw / "cases.csv", dtype=str)
    options = table.Options(root=raw / "images", table=raw / "cases.csv")
    cases.assign(dx=["", *cases["dx"][1:]]).to_csv(raw / "cases.csv", index=False)
    with pytest.raises(DataError, match=r"no label in row 2 \(1 such"):
        table.prepare(options, raw / "data")
    cases.assign(image=["gone", *cases["image"][1:]]).to_csv(raw / "cases.csv", index=False)
    with pytest.raises(DataError, match="gone"):
        table.prepare(options, raw / "data")
    cases.assign(split="holdout").to_csv(raw / "cases.csv", index=False)
    with pytest.raises(DataError, match="unknown split 'holdout'"):
        table.prepare(options, raw / "data")
    assert not (raw / "data").exists()


def test_folders_named_as_splits_are_taken_as_splits(raw: Path) -> None:
    root = raw / "sorted"
    for number in range(40):
        split = ["train", "train", "val", "test"][number // 2 % 4]
        target = root / split / ["nevus", "melanoma"][number % 2] / "deep" / f"x{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(raw / "images" / f"x{number}.png", target)
    dataset = folder.prepare(folder.Options(root=root), raw / "data")
    assert [len(dataset.split(name)) for name in ("train", "val", "test")] == [20, 10, 10]
    assert dataset.classes == ["melanoma", "nevus"]


def test_identical_images_and_the_worth_of_a_test_image_are_shown(tmp_path: Path) -> None:
    dataset = toy.make_dataset(tmp_path)
    shutil.copy(dataset.paths()[0], dataset.paths()[86])
    found = fingerprint(dataset)
    assert [(copy.ids, copy.splits) for copy in found.identical] == [
        (["image000", "image086"], ["test", "train"])
    ]
    assert found.smallest_test_class is not None
    assert found.smallest_test_class.name == "rare"
    lines = "\n".join(format_fingerprint(found))
    assert "image000, image086" in lines
    assert "one image is 33.3 points of its recall and 11.1 of balanced accuracy" in lines
    assert "0 have images in more than one split" in lines


@pytest.mark.slow
def test_the_real_images(shared: Path, tmp_path: Path) -> None:
    options = isic2019.Options(root=shared / "isic2019", allow_missing=True, split="lesion", seed=42)
    dataset = isic2019.prepare(options, tmp_path / "data")
    assert len(dataset.table) == 10_015
    assert dataset.classes == ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"]
    total = sum(dataset.counts(split) for split in ("train", "val", "test"))
    assert total.tolist() == [1113, 6705, 514, 130, 1099, 115, 142, 197]
    assert crossing_groups(dataset.table) == []
    assert dataset.table["id"].str.fullmatch(r"ISIC_\d{7}").all()
    assert dataset.table["group"].nunique() == 7470
    by_image = isic2019.prepare(options.model_copy(update={"split": "image"}), tmp_path / "leaky")
    assert len(crossing_groups(read_dataset(by_image.folder).table)) > 100


def test_missing_real_images_need_a_word(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"15316 of 25331 images are missing.*--allow-missing"):
        isic2019.prepare(isic2019.Options(root=shared / "isic2019"), tmp_path / "data")
    assert not (tmp_path / "data").exists()
