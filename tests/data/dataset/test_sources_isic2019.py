"""ISIC 2019: the paper's split image for image, the other splits, and tables that are not as they should be."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lmd.data.dataset.checks import SPLITS, Leakage, crossing_groups, leakage
from lmd.data.dataset.longtail import counts_as_paper
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.data.dataset.reading.tables import PUBLISHED
from lmd.data.dataset.sources import isic2019
from lmd.data.decode.cache import open_cache
from lmd.errors import DataError, LmdError
from lmd.settings import resolve
from tests import toy

PAPER = {"imbalance": "100", "split": "paper", "list_only": True}

# The authors' tables: the counts of the three published imbalances, and the hashes of the split at 100.
COUNTS = {
    100: {"NV": (9012, 1288, 2575), "MEL": (2898, 414, 828), "BCC": (1949, 279, 557), "BKL": (1409, 202, 402),
          "AK": (426, 61, 122), "SCC": (282, 41, 81), "VASC": (104, 15, 30), "DF": (90, 13, 26)},
    300: {"NV": (9012, 1288, 2575), "MEL": (2477, 354, 708), "BCC": (1424, 204, 407), "BKL": (880, 126, 252),
          "AK": (227, 33, 65), "SCC": (129, 19, 37), "VASC": (41, 6, 12), "DF": (30, 5, 8)},
    500: {"NV": (9012, 1288, 2575), "MEL": (2303, 329, 658), "BCC": (1231, 176, 352), "BKL": (707, 101, 202),
          "AK": (170, 25, 48), "SCC": (89, 13, 26), "VASC": (26, 4, 8), "DF": (18, 3, 5)},
}  # fmt: skip
FINGERPRINTS = {"train": "28d6c744fa5d2ac2", "val": "62b3833065ff1613", "test": "d4f6e3e877f0ab9b"}


def prepare(root: Path, out: Path, **options: object) -> Dataset:
    """As the command does: from texts."""
    isic2019.prepare(resolve(isic2019.Options, {"root": str(root), **options}), out)
    return read_dataset(out)


@pytest.fixture(scope="module")
def paper(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(shared / "isic2019", tmp_path_factory.mktemp("paper") / "data", **PAPER)


def test_the_published_split_is_made_again_image_for_image(shared: Path, paper: Dataset) -> None:
    for split, file in PUBLISHED.items():
        published = pd.read_csv(shared / "reference_splits" / "isic2019_lt_r100" / file)
        rows = paper.split(split)
        assert set(rows["id"]) == set(published["image"])
        labels = published.set_index("image").idxmax(axis=1)
        assert (labels[rows["id"]].to_numpy() == rows["label"].to_numpy()).all()
        text = "\n".join(sorted(rows["id"]))
        assert hashlib.sha256(text.encode()).hexdigest()[:16] == FINGERPRINTS[split]
    assert [len(paper.split(split)) for split in SPLITS] == [16_170, 2_313, 4_621]


@pytest.mark.parametrize("imbalance", COUNTS)
def test_the_published_counts(shared: Path, tmp_path: Path, imbalance: int) -> None:
    dataset = prepare(shared / "isic2019", tmp_path / "data", **{**PAPER, "imbalance": str(imbalance)})
    per_split = [dict(zip(dataset.classes, dataset.counts(split), strict=True)) for split in SPLITS]
    assert {name: tuple(int(counts[name]) for counts in per_split) for name in dataset.classes} == COUNTS[
        imbalance
    ]
    for name, counts in COUNTS[imbalance].items():
        assert tuple(counts_as_paper(sum(counts)).values()) == counts, name


def test_what_the_published_split_leaks_is_counted_and_said(paper: Dataset) -> None:
    told = paper.info.recipe["leakage"]
    assert told == leakage(paper.table).model_dump()
    lesions = {split: set(paper.split(split)["group"]) for split in SPLITS}
    assert told["groups"] == len(lesions["test"] & lesions["train"])
    assert told["test_images"] == int(paper.split("test")["group"].isin(lesions["train"]).sum()) == 2503
    assert paper.info.recipe["split"] == "paper"
    assert paper.info.recipe["images_without_lesion_id"] == 25_331 - 23_247
    assert paper.info.recipe["lesions"] == 11_847


def test_only_the_present_images_are_used_of_the_published_split(
    shared: Path, paper: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = {**PAPER, "list_only": False, "allow_missing": True}
    dataset = prepare(shared / "isic2019", tmp_path / "data", **wanted)
    everything = dict(zip(paper.table["id"], paper.table["split"], strict=True))
    assert all(everything[row.id] == row.split for row in dataset.table.itertuples())
    assert dataset.info.recipe["missing_images"] == len(paper.table) - len(dataset.table)
    # The number that nobody told the readers of the published split.
    assert "596 of 1864 test images show one of the 555 lesions" in caplog.text
    assert leakage(dataset.table) == Leakage(groups=555, test_images=596, of_test_images=1864)


def test_a_list_counts_but_does_not_train(paper: Dataset) -> None:
    assert paper.info.list_only
    assert paper.counts("train").sum() == 16_170
    with pytest.raises(DataError, match=r"is missing in .*prepared with --list-only"):
        open_cache(paper, 8)


def test_lesions_stay_together_and_the_counts_hardly_move(
    shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = prepare(shared / "isic2019", tmp_path / "data", **{**PAPER, "split": "lesion"})
    assert crossing_groups(dataset.table) == []
    assert "leakage" not in dataset.info.recipe
    moved = dataset.info.recipe["counts_against_paper"]
    for split in SPLITS:
        assert {name: moved[name][split][0] for name in moved} == {
            name: counts[SPLITS.index(split)] for name, counts in COUNTS[100].items()
        }
        assert [moved[name][split][1] for name in dataset.classes] == dataset.counts(split).tolist()
    assert f"train 16170 -> {len(dataset.split('train'))}" in caplog.text


# Made tables: what the real ones do not hold.


def make_raw(root: Path, counts: dict[str, int], images: bool = True) -> Path:
    """A small ISIC 2019: lesions of two images, some without a lesion id."""
    (root / isic2019.IMAGES).mkdir(parents=True)
    labels = [name for name, count in counts.items() for _ in range(count)]
    ids = [f"ISIC_{number:07d}" for number in range(len(labels))]
    names = [*isic2019.CLASSES, isic2019.UNKNOWN]
    marks = pd.DataFrame(0.0, index=range(len(ids)), columns=names)
    for number, label in enumerate(labels):
        marks.loc[number, label] = 1.0
    lesions = ["" if number % 5 == 0 else f"L{number // 2}" for number in range(len(ids))]
    marks.insert(0, "image", ids)
    marks.to_csv(root / isic2019.TRUTH, index=False)
    pd.DataFrame({"image": ids, "lesion_id": lesions, "sex": "male"}).to_csv(
        root / isic2019.META, index=False
    )
    for number, name in enumerate(ids if images else []):
        ending = ".JPG" if number % 2 else ".jpg"
        Image.fromarray(toy.draw(number % 3, number)).save(root / isic2019.IMAGES / f"{name}{ending}", "JPEG")
    return root


SMALL = {"MEL": 20, "NV": 40, "BCC": 12, "AK": 8, "BKL": 10, "DF": 6, "VASC": 6, "SCC": 8}


def change(root: Path, file: str, old: str, new: str) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))


def test_unknown_classes_and_lesions_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make_raw(tmp_path / "raw", {**SMALL, "UNK": 3})
    dataset = prepare(root, tmp_path / "data")
    assert len(dataset.table) == sum(SMALL.values())
    recipe = dataset.info.recipe
    assert (recipe["unknown_class_images"], recipe["images_without_lesion_id"]) == (3, 22)
    assert recipe["lesions_of_several_images"] > 20
    assert "3 images of class UNK are left out" in caplog.text
    assert set(dataset.table["file"].str[-4:]) == {".jpg", ".JPG"}
    assert dataset.table["group"].str.startswith(("L", "ISIC")).all()
    truth = hashlib.sha256((root / isic2019.TRUTH).read_bytes()).hexdigest()
    assert dataset.info.tables_sha256[isic2019.TRUTH] == truth
    assert list(dataset.info.tables_sha256) == [isic2019.TRUTH, isic2019.META]


@pytest.mark.parametrize("imbalance", ["1", "2", "20"])
def test_any_imbalance_can_be_had(tmp_path: Path, imbalance: str) -> None:
    root = make_raw(tmp_path / "raw", {name: 10 * count for name, count in SMALL.items()}, images=False)
    dataset = prepare(root, tmp_path / "data", imbalance=imbalance, split="image", list_only=True)
    counts = np.sum([dataset.counts(split) for split in SPLITS], axis=0)
    assert counts.max() / counts.min() == pytest.approx(float(imbalance), rel=0.05)
    assert "leakage" in dataset.info.recipe


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "paper"}, "--split paper needs the paper's --imbalance"),
        ({"split": "paper", "imbalance": "2", "folds": "2"}, "--split paper is one split"),
        ({"imbalance": "0.5"}, "imbalance = '0.5'"),
        ({"split": "lesions"}, "split = 'lesions'.*'paper'"),
        ({"split": "paper", "imbalance": "40", "list_only": True}, "class '.*' keeps . images, too few"),
        ({"list_onyl": True}, "did you mean 'list_only'"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, options: dict[str, object], message: str) -> None:
    root = make_raw(tmp_path / "raw", SMALL, images=False)
    with pytest.raises(LmdError, match=message):
        prepare(root, tmp_path / "data", **options)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (isic2019.TRUTH, "0000003,1.0,0.0", "0000003,1.0,1.0", "image ISIC_0000003 one class"),
        (isic2019.TRUTH, "0000003,1.0,0.0", "0000003,0.0,0.0", "image ISIC_0000003 one class"),
        (isic2019.TRUTH, "0000003,1.0,0.0", "0000003,yes,0.0", "image ISIC_0000003 one class"),
        (isic2019.TRUTH, "ISIC_0000003", "ISIC_0000004", "lists image 'ISIC_0000004' more than once"),
        (isic2019.TRUTH, "VASC", "VASK", "lacks the column 'VASC'; did you mean 'VASK'"),
        (isic2019.META, "ISIC_0000003", "ISIC_0000004", "lists image 'ISIC_0000004' more than once"),
        (isic2019.META, "lesion_id", "lesion", "lacks the column 'lesion_id'; did you mean 'lesion'"),
    ],
)
def test_unsound_tables_are_named(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    root = make_raw(tmp_path / "raw", SMALL, images=False)
    change(root, file, old, new)
    with pytest.raises(DataError, match=message):
        prepare(root, tmp_path / "data", list_only=True)


def test_the_selection_does_not_depend_on_which_images_are_there(tmp_path: Path) -> None:
    root = make_raw(tmp_path / "raw", {name: 4 * count for name, count in SMALL.items()})
    wanted: dict[str, object] = {"imbalance": "10", "split": "lesion"}
    whole = prepare(root, tmp_path / "whole", **wanted).table.set_index("id")["split"]
    victims = [path for path in sorted((root / isic2019.IMAGES).iterdir()) if path.stem in whole.index][::7]
    for victim in victims:
        victim.unlink()
    part = prepare(root, tmp_path / "part", **wanted, allow_missing=True).table.set_index("id")["split"]
    assert len(part) == len(whole) - len(victims)
    assert (whole[part.index] == part).all()


def test_images_that_are_not_selected_need_not_be_there(tmp_path: Path) -> None:
    root = make_raw(tmp_path / "raw", {name: 4 * count for name, count in SMALL.items()})
    wanted: dict[str, object] = {"imbalance": "10", "split": "lesion"}
    used = set(prepare(root, tmp_path / "list", **wanted, list_only=True).table["id"])
    for path in (root / isic2019.IMAGES).iterdir():
        if path.stem not in used:
            path.unlink()
    assert set(prepare(root, tmp_path / "data", **wanted).table["id"]) == used


def test_an_image_that_is_there_twice_is_named(tmp_path: Path) -> None:
    root = make_raw(tmp_path / "raw", SMALL)
    Image.fromarray(toy.draw(0, 0)).save(root / isic2019.IMAGES / "ISIC_0000001.png")
    with pytest.raises(DataError, match=r"twice: ISIC_0000001\.JPG and ISIC_0000001\.png"):
        prepare(root, tmp_path / "data")


def test_the_metadata_may_hold_columns_of_our_names(tmp_path: Path) -> None:
    root = make_raw(tmp_path / "raw", SMALL, images=False)
    change(root, isic2019.META, "sex", "label")
    assert set(prepare(root, tmp_path / "data", list_only=True).table["label"]) == set(SMALL)


def test_nothing_is_logged_where_nothing_is_odd(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counts = {
        name: 4 * count for name, count in SMALL.items()
    }  # With fewer, classes lack a validation image.
    prepare(make_raw(tmp_path / "raw", counts), tmp_path / "data")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
