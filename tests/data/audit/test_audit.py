"""The fingerprint says what a person must know before training."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from lmd.data.audit.fingerprint import fingerprint
from lmd.data.audit.results import (
    Contradictory,
    CrossingGroup,
    Fingerprint,
    GroupSizes,
    Identical,
    write_fingerprint,
)
from lmd.data.audit.text import format_fingerprint, summary_lines
from lmd.data.dataset.checks import Leakage
from lmd.data.dataset.manifest import Dataset, write_dataset
from lmd.data.dataset.sources import isic2019
from lmd.text import FEW_NOTE
from tests import toy


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return toy.make_dataset(tmp_path)


@pytest.fixture
def patients(dataset: Dataset, tmp_path: Path) -> Dataset:
    """Named patients: one has four images in two splits, one three, one two."""
    groups = dataset.table["group"].tolist()
    groups[0] = groups[1] = groups[85] = groups[86] = "Ann Smith"
    groups[2:5] = ["Bob"] * 3
    groups[5:7] = ["Cyd"] * 2
    info = dataset.info.model_copy(update={"recipe": {"split": "image"}})
    return write_dataset(tmp_path / "patients", dataset.table.assign(group=groups), info)


def lines(dataset: Dataset) -> str:
    return "\n".join(format_fingerprint(fingerprint(dataset)))


def wrong(dataset: Dataset) -> str:
    return "\n".join(fingerprint(dataset).wrong)


def test_counts_groups_and_imbalance(dataset: Dataset) -> None:
    found = fingerprint(dataset)
    assert found.counts == {"train": [40, 12, 5], "val": [8, 4, 3], "test": [8, 4, 3]}
    assert (found.images, found.imbalance, found.num_groups) == (87, 8.0, 87)
    assert found.wrong == []
    rows = [line.split() for line in lines(dataset).splitlines()]
    assert ["rare", "tail", "5", "3", "*", "3", "*", "11"] in rows  # What is measured on few images.
    assert lines(dataset).count(FEW_NOTE) == 1
    assert ["all", "57", "15", "15", "87"] in rows
    assert "imbalance in training: 8.0; by hand" in lines(dataset)
    assert lines(dataset).endswith("in training and test\nnothing else was found")


def test_the_worth_of_a_test_image(dataset: Dataset) -> None:
    found = fingerprint(dataset)
    assert [(row.name, row.n) for row in found.worth] == [("rare", 3), ("less", 4), ("common", 8)]
    text = lines(dataset)
    assert "class rare has 3 * test images: one image is 33.3 points of its recall and 11.1 of" in text
    assert "class common has 8 * test images: one image is 12.5 points of its recall and 4.2 of" in text


def test_where_images_are_worth_little_only_the_smallest_class_is_named(dataset: Dataset) -> None:
    rows = pd.concat([dataset.table.assign(id=dataset.table["id"] + str(k)) for k in range(40)])
    many = Dataset(dataset.folder, rows.reset_index(drop=True), dataset.info)
    found = fingerprint(many, look=False)
    assert [(row.name, row.n) for row in found.worth] == [("rare", 120)]


@pytest.mark.parametrize(
    ("keep", "message", "fault"),
    [
        (("train", "val"), "there is no test split", "there is no test split"),
        (
            ("train", "val", "test"),
            "class rare has no test image: its recall cannot be measured",
            "no test image: 1 class (rare)",
        ),
    ],
)
def test_a_class_without_test_images(
    dataset: Dataset, tmp_path: Path, keep: tuple[str, ...], message: str, fault: str
) -> None:
    table = dataset.table[dataset.table["split"].isin(keep)]
    table = table[(table["label"] != "rare") | (table["split"] != "test")]
    less = write_dataset(tmp_path / "less", table, dataset.info)
    assert message in lines(less)
    assert wrong(less) == fault


def test_a_class_without_validation_images_is_wrong(dataset: Dataset, tmp_path: Path) -> None:
    table = dataset.table[(dataset.table["label"] == "common") | (dataset.table["split"] != "val")]
    assert (
        wrong(write_dataset(tmp_path / "less", table, dataset.info)) == "no val image: 2 classes (less, rare)"
    )


def test_groups_across_splits_are_a_leak_and_have_no_names(patients: Dataset) -> None:
    found = fingerprint(patients)
    assert found.leakage == Leakage(groups=1, test_images=2, of_test_images=15)
    ids = ["image000", "image001", "image085", "image086"]
    assert found.crossing_groups == [CrossingGroup(group="g0", splits=["test", "train"], ids=ids)]
    text = lines(patients)
    assert "of which 1 have images in more than one split" in text
    assert "leak: 2 of 15 test images are of a group (lesion, patient) that is also in training (1 " in text
    assert not [name for name in ("Ann", "Bob", "Cyd") if name in text + found.model_dump_json()]


def test_a_group_in_training_and_validation_alone_is_a_leak_too(patients: Dataset, tmp_path: Path) -> None:
    table = patients.table
    table.loc[table["group"] == "Ann Smith", "split"] = ["train", "train", "val", "val"]
    assert "leak: 1 group in all has images" in wrong(write_dataset(tmp_path / "val", table, patients.info))


def test_images_per_group(patients: Dataset) -> None:
    assert fingerprint(patients).images_per_group == GroupSizes(one=78, two=1, three=1, more=1, largest=4)
    assert "78 groups with 1, 1 with 2, 1 with 3, 1 with more (at most 4)" in lines(patients)


def test_identical_files_are_found_and_a_long_list_is_cut(dataset: Dataset) -> None:
    paths = dataset.paths()
    for number in range(7):
        shutil.copy(paths[number], paths[80 + number])
    shutil.copy(paths[20], paths[21])
    found = fingerprint(dataset)
    assert len(found.identical) == 8
    assert Identical(ids=["image000", "image080"], splits=["test", "train"]) in found.identical
    assert Identical(ids=["image020", "image021"], splits=["train"]) in found.identical
    assert found.near.count == 0
    text = lines(dataset)
    assert "identical images: image000, image080 (in test, train)" in text
    assert "identical images: 3 more sets" in text
    assert text.count("\nidentical images: ") == 6
    assert "identical images in more than one split: 7 sets" in text


def test_identical_images_with_two_labels_contradict_each_other(dataset: Dataset) -> None:
    paths = dataset.paths()
    shutil.copy(paths[0], paths[40])
    shutil.copy(paths[1], paths[2])
    found = fingerprint(dataset)
    assert found.contradictory == [Contradictory(ids=["image000", "image040"], labels=["common", "less"])]
    assert found.wrong == [
        "identical images with different labels: 1 set, first image000, image040 (common, less)"
    ]


def test_near_duplicates_across_splits_and_labels_come_first(dataset: Dataset) -> None:
    paths = dataset.paths()
    for source, copy in [(0, 1), (2, 41), (3, 86)]:
        with Image.open(paths[source]) as image:
            image.resize((40, 40), Image.Resampling.BICUBIC).save(paths[copy])
    near = fingerprint(dataset).near
    assert (near.count, near.across, near.train_test, near.other_label) == (3, 1, 1, 2)
    assert [pair.rows for pair in near.pairs] == [[3, 86], [2, 41], [0, 1]]
    assert near.pairs[0].splits == ["train", "test"]
    assert "image003, image086: train and test; common and rare; different groups" in lines(dataset)
    assert wrong(dataset) == "nearly the same picture in two splits: 1 pair (1 of them in training and test)"


@pytest.mark.parametrize("damage", [b"", b"this is no image", None])
def test_broken_images_are_named_and_the_rest_is_looked_at(dataset: Dataset, damage: bytes | None) -> None:
    path = dataset.paths()[50]
    path.write_bytes(path.read_bytes()[:200] if damage is None else damage)
    found = fingerprint(dataset)
    assert [bad.file for bad in found.files.broken] == ["image050.png"]
    assert found.files.read == 86
    assert found.wrong == ["broken: 1 image (image050.png)"]
    assert "broken: image " in lines(dataset)
    assert fingerprint(dataset) == found  # From what was kept, too.


def test_missing_images_are_named(dataset: Dataset) -> None:
    dataset.paths()[50].unlink()
    found = fingerprint(dataset)
    assert (found.files.missing, found.files.read) == (["image050.png"], 86)
    assert found.wrong == ["missing: 1 image (image050.png)"]


def test_a_list_is_counted_and_says_so(dataset: Dataset) -> None:
    for path in dataset.paths()[:80]:
        path.unlink()
    listed = Dataset(dataset.folder, dataset.table, dataset.info.model_copy(update={"list_only": True}))
    text = lines(listed)
    assert "the data set is a list: 80 of its 87 images are not there" in text
    assert "formats: PNG 7" in text
    assert text.endswith("nothing else was found")
    for path in dataset.paths()[80:]:
        path.unlink()
    assert fingerprint(listed).counts["train"] == [40, 12, 5]
    assert "87 of its 87 images are not there" in lines(listed)


def test_sizes_modes_and_formats(dataset: Dataset) -> None:
    paths = dataset.paths()
    Image.new("L", (30, 10), 7).save(paths[0])
    tall = Image.fromarray(toy.draw(0, 900, 24)).crop((0, 0, 24, 12))
    exif = Image.Exif()
    exif[0x0112] = 6  # Shown turned by a quarter: 12 wide, 24 high.
    tall.save(paths[1], format="JPEG", exif=exif)
    files = fingerprint(dataset).files
    assert files.formats == {"PNG": 86, "JPEG": 1}
    assert files.modes == {"RGB": 86, "L": 1}
    assert files.sizes == {"20 x 20": 85, "30 x 10": 1, "12 x 24": 1}
    assert files.shorter_side == [10.0, 20.0, 20.0]
    assert files.aspect == [0.5, 1.0, 3.0]


def test_files_younger_than_the_manifest_are_told(dataset: Dataset) -> None:
    made = (dataset.folder / "manifest.csv").stat().st_mtime
    for path in dataset.paths():
        os.utime(path, (made - 10, made - 10))
    assert fingerprint(dataset).files.changed == []
    os.utime(dataset.paths()[3], (made + 10, made + 10))
    assert fingerprint(dataset).files.changed == ["image003.png"]
    assert "changed since preparing (written after the manifest): 1 image, image003.png" in lines(dataset)


def test_without_a_look_no_file_is_opened(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmd.data.audit.fingerprint.look_at", lambda *_: pytest.fail("opened"))
    found = fingerprint(dataset, look=False)
    assert (found.files, found.near, found.wrong) == (None, None, [])
    assert "the image files were not opened" in "\n".join(format_fingerprint(found))


def test_the_json_has_the_keys_of_version_0_1(dataset: Dataset, tmp_path: Path) -> None:
    paths = dataset.paths()
    shutil.copy(paths[0], paths[40])
    with Image.open(paths[3]) as image:
        image.resize((40, 40), Image.Resampling.BICUBIC).save(paths[86])
    paths[50].write_bytes(b"no image")
    told = json.loads(write_fingerprint(tmp_path / "found.json", fingerprint(dataset)).read_text())
    assert list(told) == [
        "title", "images", "list_only", "counts", "classes", "imbalance", "groups", "groups_rule", "lesions",
        "grouping", "images_per_group", "crossing_groups", "leakage", "smallest_test_class", "worth", "without", "files",
        "identical", "contradictory", "near", "wrong",
    ]  # fmt: skip
    assert (told["groups"]["tail"], told["groups_rule"], told["lesions"]) == (["rare"], "by hand", 87)
    assert told["images_per_group"] == {"1": 87, "2": 0, "3": 0, "more": 0, "largest": 1}
    assert told["leakage"] == {"groups": 0, "test_images": 0, "of_test_images": 15}
    rare = {"class": "rare", "n": 3, "points_of_recall": 100 / 3, "points_of_bacc": 100 / 9}
    assert told["smallest_test_class"] == told["worth"][0] == pytest.approx(rare)
    assert list(told["files"]) == [
        "read", "missing", "broken", "changed", "formats", "modes", "sizes", "shorter_side", "aspect",
        "largest_of_16_bits",  # Since version 0.3.
    ]  # fmt: skip
    assert [bad["file"] for bad in told["files"]["broken"]] == ["image050.png"]
    assert told["identical"] == [{"ids": ["image000", "image040"], "splits": ["train"]}]
    assert told["contradictory"] == [{"ids": ["image000", "image040"], "labels": ["common", "less"]}]
    assert list(told["near"]) == [
        "bits", "of", "agreement", "complete", "count", "across", "train_test", "other_group", "other_label",
        "pairs",
    ]  # fmt: skip
    (pair,) = told["near"]["pairs"]
    assert list(pair) == ["rows", "ids", "splits", "labels", "groups", "bits", "agreement", "turned"]
    assert (pair["rows"], pair["groups"], pair["turned"]) == ([3, 86], ["g3", "g86"], False)


def test_what_prepare_says(dataset: Dataset) -> None:
    first, *table = summary_lines(dataset)
    assert first == f"{dataset.folder}: 87 images, 3 classes (train 57, val 15, test 15)"
    assert [line.split() for line in table[:2]] == [
        ["class", "train", "val", "test", "all"],
        ["common", "40", "8", "8", "56"],
    ]
    info = dataset.info.model_copy(update={"recipe": {"skipped": 2}})
    assert "2 images or rows" in summary_lines(Dataset(dataset.folder, dataset.table, info))[-1]


# The real images.


@pytest.fixture(scope="session")
def every(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Fingerprint]:
    """The 10,015 images that are there, split by lesion, and their fingerprint."""
    options = isic2019.Options(root=shared / "isic2019", list_only=True)
    listed = isic2019.prepare(options, tmp_path_factory.mktemp("every") / "data")
    there = [(listed.root / file).is_file() for file in listed.table["file"]]
    dataset = Dataset(listed.folder, listed.table[there].reset_index(drop=True), listed.info)
    return dataset, fingerprint(dataset)


@pytest.fixture(scope="session")
def paper(
    shared: Path, every: tuple[Dataset, Fingerprint], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Dataset, Fingerprint]:
    """The paper's split of ISIC-2019-LT as a list, and its fingerprint; 9,377 of its images are there."""
    options = isic2019.Options(
        root=shared / "isic2019", imbalance=100, split="paper", seed=42, list_only=True
    )
    dataset = isic2019.prepare(options, tmp_path_factory.mktemp("paper") / "data")
    shutil.copytree(every[0].folder / "cache", dataset.folder / "cache")
    return dataset, fingerprint(dataset)


def shared_lesions(shared: Path, only: str) -> tuple[int, int, int]:
    """Test images of the published tables whose lesion is in training, all test images, and those lesions."""
    meta = pd.read_csv(shared / "isic2019" / "ISIC_2019_Training_Metadata.csv", dtype=str)
    lesion = dict(zip(meta["image"], meta["lesion_id"].fillna(""), strict=True))
    tables = shared / "reference_splits" / "isic2019_lt_r100"
    train = {lesion[image] for image in pd.read_csv(tables / "training.csv")["image"]} - {""}
    test = [lesion[image] for image in pd.read_csv(tables / "testing.csv")["image"]]
    test = [name for name in test if name.startswith(only)]
    hit = [name for name in test if name in train]
    return len(hit), len(test), len(set(hit))


@pytest.mark.slow
def test_the_lesions_that_the_published_split_shares(
    paper: tuple[Dataset, Fingerprint], shared: Path
) -> None:
    """596 of the 1,864 HAM10000 test images show a lesion of training; 2,503 of all 4,621 do."""
    dataset, found = paper
    assert shared_lesions(shared, "HAM_") == (596, 1864, 555)
    assert shared_lesions(shared, "") == (2503, 4621, 1913)
    assert found.leakage == Leakage(groups=1913, test_images=2503, of_test_images=4621)
    tables = dataset.table[dataset.table["group"].str.startswith("HAM_")]
    ham = Dataset(dataset.folder, tables.reset_index(drop=True), dataset.info)
    leaked = fingerprint(ham, look=False).leakage
    assert leaked == Leakage(groups=555, test_images=596, of_test_images=1864)
    assert any(line.startswith("leak: 2503 of 4621 test images") for line in found.wrong)


@pytest.mark.slow
def test_the_published_split_holds_copies_in_training_and_test(paper: tuple[Dataset, Fingerprint]) -> None:
    _, found = paper
    assert found.files.read == 9377
    assert found.identical == [
        Identical(ids=["ISIC_0024366", "ISIC_0029861"], splits=["test", "train"]),
        Identical(ids=["ISIC_0024777", "ISIC_0029938"], splits=["test"]),
    ]
    near = found.near
    assert (near.train_test, near.other_group) == (39, 3)


@pytest.mark.slow
def test_the_real_images_hold_two_identical_pairs_and_few_false_near_ones(
    every: tuple[Dataset, Fingerprint],
) -> None:
    """Nearly the same picture is nearly always the same lesion: the tables confirm what the hashes say."""
    _, found = every
    assert found.files.read == 10_015
    ids = [entry.ids for entry in found.identical]
    assert ids == [["ISIC_0024366", "ISIC_0029861"], ["ISIC_0024777", "ISIC_0029938"]]
    near = found.near
    assert (near.count, near.other_label) == (121, 0)
    other = {tuple(pair.ids) for pair in near.pairs if len(set(pair.groups)) > 1}
    # By eye, the first two are copies under two lesion ids; the third is two small spots in a round frame.
    assert other == {
        ("ISIC_0025226", "ISIC_0030074"),
        ("ISIC_0027027", "ISIC_0029036"),
        ("ISIC_0027757", "ISIC_0032082"),
    }
