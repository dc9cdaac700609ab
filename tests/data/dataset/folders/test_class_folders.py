"""Class folders: splits in every usual spelling, each file used or counted aloud, system folders passed over."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lmd.data.dataset.folders.split_folders import folder_split
from lmd.data.dataset.meaning.given_splits import split_name
from lmd.errors import DataError
from lmd.text import numbered
from tests.messy import Messy, persons, picture


@pytest.fixture
def messy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Messy:
    return Messy(tmp_path, caplog, 0)


@pytest.fixture
def root(messy: Messy) -> Path:
    """Two classes of six images."""
    for number in range(12):
        picture(messy.path / "root" / ("a", "b")[number % 2] / f"x{number}.png", number)
    return messy.path / "root"


SPLITS = [
    ("train_set", "val_set", "test_set"), ("train_data", "val_data", "test_data"), ("seg_train", "seg_val", "seg_test"),
    ("1_train", "2_val", "3_test"), ("Training", "Validation", "Testing"), ("TRAIN", "VALID", "TEST"),
    ("trainset", "devset", "testset"), ("Train Set", "Validation Set", "Test Set"), ("train-images", "dev-images", "test-images"),
    ("TrainData", "ValData", "TestData"), ("training_data", "validation_data", "testing_data"), ("trn", "val", "tst"),
    ("01. Training", "02. Validate", "03. Test"), ("imgs_train", "imgs_valid", "imgs_test"),
]  # fmt: skip


@pytest.mark.parametrize("names", SPLITS, ids=lambda names: names[0])
def test_folders_of_splits_are_known_in_all_usual_spellings(
    messy: Messy, names: tuple[str, str, str]
) -> None:
    for number in range(24):
        picture(
            messy.path / "root" / names[number // 2 % 3] / ("a", "b")[number % 2] / f"x{number}.png", number
        )
    dataset = messy.folder(messy.path / "root")
    assert dataset.classes == ["a", "b"]
    assert [len(dataset.split(split)) for split in ("train", "val", "test")] == [8, 8, 8]


@pytest.mark.parametrize(
    "name",
    ["testes", "test strip", "trained", "contest", "valve", "devil", "eval", "setter", "train station"],
)
def test_a_class_is_no_split_because_of_its_first_letters(name: str) -> None:
    assert folder_split(name) == ""
    assert split_name(name) not in ("train", "val", "test")


def test_a_folder_within_a_folder_of_its_name_is_one(messy: Messy) -> None:
    """The archive "Intel Image Classification" unpacks to seg_train/seg_train/<class>."""
    for number in range(16):
        split = ("seg_train", "seg_test")[number // 2 % 2]
        picture(messy.path / "root" / split / split / ("a", "b")[number % 2] / f"x{number}.png", number)
    dataset = messy.folder(messy.path / "root")
    assert (dataset.classes, len(dataset.split("train")), len(dataset.split("test"))) == (["a", "b"], 8, 8)


def test_folders_of_splits_within_classes_are_read(messy: Messy) -> None:
    for number in range(16):
        split = ("train", "test")[number // 2 % 2]
        picture(messy.path / "root" / ("a", "b")[number % 2] / split / f"x{number}.png", number)
    dataset = messy.folder(messy.path / "root")
    assert (dataset.classes, len(dataset.split("train")), len(dataset.split("test"))) == (["a", "b"], 8, 8)


def test_two_folders_of_one_split_are_both_used(messy: Messy) -> None:
    for number in range(24):
        split = ("train_1", "train_2", "test")[number // 2 % 3]
        picture(messy.path / "root" / split / ("a", "b")[number % 2] / f"x{number}.png", number)
    assert len(messy.folder(messy.path / "root").split("train")) == 16


@pytest.mark.parametrize("name", ["test", "Validation", "train_set", "dev"])
def test_a_class_that_is_named_as_a_split_is_refused(messy: Messy, root: Path, name: str) -> None:
    picture(root / name / "y.png")
    with pytest.raises(DataError, match=rf"folders of splits \({name}\) and others \(a\).*named as a split"):
        messy.folder(root)


def test_a_class_that_is_named_as_a_split_is_refused_within_a_split(messy: Messy) -> None:
    for split in ("train", "test"):
        for number, name in enumerate(("a", "test")):
            picture(messy.path / "root" / split / name / "x.png", number)
    with pytest.raises(DataError, match="named as a split \\('test'\\)"):
        messy.folder(messy.path / "root")


def test_images_of_which_some_have_a_split_are_refused(messy: Messy, root: Path) -> None:
    picture(root / "a" / "test" / "y.png")
    with pytest.raises(
        DataError, match=r"1 image lies in folders of splits, and 12 do not \(first: a/x0.png\)"
    ):
        messy.folder(root)


def test_a_root_that_holds_the_root_is_named(messy: Messy, root: Path) -> None:
    outer = messy.path / "outer"
    outer.mkdir()
    shutil.move(root, outer / "archive")
    with pytest.raises(DataError, match=f"single folder.*give --root {outer / 'archive'}"):
        messy.folder(outer)


# Files.


ENDINGS = [".jfif", ".jpe", ".JPEG", ".dib", ".apng", ".tga", ".pgm", ".ppm", ".jp2"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_of_a_format_is_an_image(messy: Messy, root: Path, ending: str) -> None:
    picture(root / "a" / "y.png", 99).rename(root / "a" / f"y{ending}")
    assert f"a/y{ending}" in messy.folder(root).table["file"].tolist()


def test_files_that_are_no_images_are_counted_by_ending(messy: Messy, root: Path) -> None:
    for name in ("a/notes.txt", "a/more.TXT", "b/report.pdf", "labels.csv", "a/README"):
        (root / name).write_text("no image")
    messy.folder(root)
    assert "5 files are no images and left out: 2 .txt, " in messy.told()
    assert "1 .pdf" in messy.told()
    assert "1 .csv" in messy.told()
    assert "1 without an ending" in messy.told()


def test_images_of_no_class_are_counted(messy: Messy, root: Path) -> None:
    picture(root / "loose.png")
    assert len(messy.folder(root).table) == 12
    assert "1 image lies in no class folder and is left out" in messy.told()


SYSTEM = ["__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information", ".git", "#recycle", ".ipynb_checkpoints", "__pycache__", ".Trash-1000"]  # fmt: skip


@pytest.mark.parametrize("name", SYSTEM)
def test_system_folders_are_passed_over_and_named(messy: Messy, root: Path, name: str) -> None:
    picture(root / name / "y.png")
    picture(root / "a" / name / "y.png", 50)
    dataset = messy.folder(root)
    assert (dataset.classes, len(dataset.table)) == (["a", "b"], 12)
    assert f"passed over, as no folders or files of images: {name}" in messy.told()


@pytest.mark.parametrize("name", ["Thumbs.db", ".DS_Store", "desktop.ini", "._x0.png", "ehthumbs.db"])
def test_system_files_are_passed_over_and_named(messy: Messy, root: Path, name: str) -> None:
    (root / "a" / name).write_bytes(b"of the system")
    assert len(messy.folder(root).table) == 12
    assert "passed over" in messy.told()
    assert "are no images" not in messy.told()


def test_our_own_output_inside_the_root_is_passed_over(messy: Messy, root: Path) -> None:
    first = messy.folder(root)
    shutil.copytree(first.folder, root / "prepared")
    for name in ("settings.yaml", "environment.json"):
        (root / "run" / "model").mkdir(parents=True, exist_ok=True)
        (root / "run" / name).write_text("{}")
    picture(root / "run" / "model" / "y.png")
    messy.log.clear()
    again = Messy(messy.path / "again", messy.log, 0)
    assert again.folder(root).classes == ["a", "b"]
    assert "passed over, as no folders or files of images: prepared, run" in messy.told()


def test_a_folder_of_our_outputs_is_no_class(messy: Messy, root: Path) -> None:
    shutil.copytree(messy.folder(root).folder, root / "lmd-demo" / "data")
    assert Messy(messy.path / "again", messy.log, 0).folder(root).classes == ["a", "b"]
    assert "passed over, as no folders or files of images: data, lmd-demo" in messy.told()


def test_a_pattern_that_fits_nothing_is_said(messy: Messy, root: Path) -> None:
    messy.folder(root, exclude="*.xyz")
    assert "0 files left out by --exclude" in messy.told()


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("*_mask.png", 13), ("crops", 14), ("a", 8), ("a/*", 8), ("x1*.png", 11), ("crops/*", 14), ("b/crops", 14),
        (("*_mask.png", "c"), 12), ("./crops", 14), ("crops\\*", 14), ("crops/", 14), ("**/crops", 14), ("b\\crops", 14),
        ("**/a/**", 8),
    ],
)  # fmt: skip
def test_files_and_folders_are_left_out_on_request(
    messy: Messy, root: Path, pattern: object, left: int
) -> None:
    """Of twelve images in two classes, one in a third, and two masks."""
    for number, name in enumerate(("c/x.png", "b/crops/x1_mask.png", "a/x0_mask.png"), start=30):
        picture(root / name, number)
    dataset = messy.folder(root, exclude=pattern)
    assert len(dataset.table) == left
    assert numbered(15 - left, "file") + " left out by --exclude" in messy.told()
    assert dataset.info.recipe["exclude"] == ([pattern] if isinstance(pattern, str) else list(pattern))


def test_one_image_under_two_endings_is_refused(messy: Messy, root: Path) -> None:
    picture(root / "a" / "x0.jpg", 3)
    with pytest.raises(DataError, match=r"twice: a/x0.jpg and a/x0.png.*--exclude '\*.jpg'"):
        messy.folder(root)
    assert len(messy.folder(root, exclude="*.jpg").table) == 12


def test_masks_beside_images_are_told(messy: Messy, root: Path) -> None:
    picture(root / "a" / "x0_mask.png", 40)
    messy.folder(root)
    assert (
        "1 file is named as a mask of other images (first: a/x0_mask.png); leave them out with --exclude '*_mask.png'"
        in messy.told()
    )


# Patients.


def test_folders_below_a_class_may_be_patients(messy: Messy) -> None:
    for number, person in enumerate(persons(24, 4)):
        picture(messy.path / "root" / ("a", "b")[number % 2] / person / f"x{number}.png", number)
    root = messy.path / "root"
    dataset = messy.folder(root)
    assert "where such a folder is a patient, add --group-folders" in messy.told()
    assert dataset.table["group"].nunique() == 24
    again = Messy(messy.path / "again", messy.log, 0).folder(root, group_folders=True)
    assert again.table["group"].nunique() == 6
    assert (again.table.groupby("group")["split"].nunique() == 1).all()
    assert again.info.grouping is not None
    assert again.info.grouping.level == "patient"


@pytest.mark.parametrize("split", ["patient", "lesion", "group"])
def test_a_folder_cannot_be_divided_by_what_it_does_not_say(messy: Messy, root: Path, split: str) -> None:
    with pytest.raises(DataError, match=f"--split {split} needs to know the {split} of each image"):
        messy.folder(root, split=split)


def test_that_no_patients_are_known_is_said(messy: Messy, root: Path) -> None:
    messy.folder(root)
    assert "patients are not known: images of one patient may be in training and test" in messy.told()
