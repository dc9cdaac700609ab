"""Folders whose names hold words of splits: read where they are clear, refused where they leave it open."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmd.data.dataset.folders.split_folders import folder_split, read_splits
from lmd.errors import DataError
from tests.messy import Messy
from tests.trees import advised, each, following, refusal, tree

AB = ("a", "b")


@pytest.fixture
def messy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Messy:
    return Messy(tmp_path, caplog, 0)


READ = [
    ("xray_train", "xray_test"), ("X_train", "X_test"), ("trainA", "testA"), ("trainimages", "testimages"),
    ("ISIC2018_Task3_Training_Input", "ISIC2018_Task3_Test_Input"), ("train-jpeg", "test-jpeg"),
    ("Train_224x224", "Test_224x224"), ("Trainingsdaten", "Testdaten"), ("训练集", "测试集"),
    ("covidtrain", "covidtest"), ("MyTrainData", "MyTestData"), ("training_cohort", "test_cohort"),
    ("a. Training Set", "b. Testing Set"), ("Trainingsbilder", "Testbilder"), ("entrenamiento", "prueba"),
    ("tumor_train_patches", "tumor_test_patches"), ("TrainImages224", "TestImages224"), ("treino", "teste"),
    ("Entraînement", "Test"), ("学習", "テスト"), ("imagesTrain", "imagesTest"), ("train1", "test1"),
]  # fmt: skip


@pytest.mark.parametrize("names", READ, ids=lambda names: names[0])
def test_names_that_differ_by_the_split_alone_are_read(messy: Messy, names: tuple[str, str]) -> None:
    dataset = messy.folder(tree(messy.path / "root", each(names, AB, images=4)))
    assert dataset.classes == ["a", "b"]
    assert [len(dataset.split(split)) for split in ("train", "val", "test")] == [8, 0, 8]
    assert all(names[0] in file for file in dataset.split("train")["file"])


OPEN = [
    ("public_train", "private_test"), ("internal_train", "external_test"), ("train_aug", "test_clean"),
    ("trainA", "trainB", "testA", "testB"), ("train_val", "test"), ("trainval", "test"), ("train", "eval"),
    ("development", "holdout"), ("left_train", "left_test", "right_train", "right_test"), ("test_old", "test_new"),
    ("Internal_Validation", "External_Validation"), ("train_images", "test_images_and_more"),
]  # fmt: skip


@pytest.mark.parametrize("names", OPEN, ids=lambda names: "+".join(names[:2]))
def test_names_that_leave_it_open_are_refused(messy: Messy, names: tuple[str, ...]) -> None:
    root = tree(messy.path / "root", each(names, AB))
    said = refusal(messy, root)
    assert "hold words of splits among others" in said
    assert "rename those that are to train, val or test" in said
    for name, split in zip(names[:2], ("train", "test"), strict=True):
        (root / name).rename(root / f"{split}-1")
    for name in names[2:]:
        (root / name).rename(root / f"val-{names.index(name)}")
    dataset = messy.folder(root)
    assert dataset.classes == ["a", "b"]
    assert len(dataset.split("train")) == 6


@pytest.mark.parametrize(
    "names",
    [
        ("test strip", "contest"), ("testes", "ovary"), ("oval", "interval"), ("trained", "untrained"),
        ("valgus", "varus"), ("breath_test", "blood"), ("retest", "latest"), ("devic", "ms"), ("stress", "rest"),
    ],
    ids=lambda names: names[0],
)  # fmt: skip
def test_classes_with_such_letters_stay_classes(messy: Messy, names: tuple[str, str]) -> None:
    assert messy.folder(tree(messy.path / "root", each(names, images=4))).classes == sorted(names)


def test_names_within_a_class_are_read_alike(messy: Messy) -> None:
    files = [
        f"{c}/{c}_{split}/{c}{split}{n}.png" for c in AB for split in ("train", "test") for n in range(3)
    ]
    dataset = messy.folder(tree(messy.path / "root", files))
    assert (dataset.classes, len(dataset.split("train"))) == (["a", "b"], 6)


def test_one_word_alone_says_nothing_of_others() -> None:
    assert read_splits(["nevus", "test_strip"], Path("R")) == {"nevus": "", "test_strip": ""}
    assert folder_split("b. Testing Set") == "test"
    assert folder_split("b_test") == ""


@pytest.mark.parametrize(
    "folds", [("fold1", "fold2", "fold3"), ("Fold 1", "Fold 2"), ("cv_0", "cv_1"), ("split1", "split2")]
)
@pytest.mark.parametrize("below", [(AB,), (("train", "test"), AB)], ids=["classes", "splits"])
def test_folds_of_others_are_refused(
    messy: Messy, folds: tuple[str, ...], below: tuple[tuple[str, str], ...]
) -> None:
    said = refusal(messy, tree(messy.path / "root", each(folds, *below)))
    assert f"holds folds of a cross-validation ({folds[0]}, {folds[1]}" in said
    root = said.partition("such as --root ")[2].partition(", or put")[0]
    assert root == str(messy.path / "root" / folds[0])
    assert messy.folder(Path(root)).classes == ["a", "b"]


def test_folds_within_a_split_are_refused(messy: Messy) -> None:
    said = refusal(messy, tree(messy.path / "root", each(("train", "test"), ("fold1", "fold2"), AB)))
    assert "train holds folds of a cross-validation (fold1, fold2)" in said


# Folders beside, above and without class folders.


def test_a_copy_beside_the_splits_is_left_out_as_advised(messy: Messy) -> None:
    """The archive of chest_xray holds itself once more."""
    splits = (("train", "val", "test"), ("NORMAL", "PNEUMONIA"))
    root = tree(messy.path / "root", [*each(*splits), *each(("chest_xray",), *splits)])
    said = refusal(messy, root)
    assert advised(said, "--exclude") == ["chest_xray"]
    assert len(following(messy, said, root).table) == 18


def test_a_test_without_classes_names_the_way_out(messy: Messy) -> None:
    root = tree(messy.path / "root", [*each(("train",), AB, images=8), "test/1.png", "test/2.png"])
    said = refusal(messy, root)
    assert (
        f"{root}/test has no class folders, and 2 images: give another folder alone as --root ({root}/train)"
        in said
    )
    assert len(messy.folder(root / "train").table) == 16


def test_a_folder_of_images_alone_points_to_tables(messy: Messy) -> None:
    root = tree(messy.path / "root", ["1.png", "2.png", "3.png"])
    assert f"{root} has no class folders, and 3 images" in refusal(messy, root)
    assert f"lmd prepare table --root {root} --table FILE" in refusal(messy, root)


@pytest.mark.parametrize(("extra", "found"), [("c/info.csv", "1 .csv"), ("c/c.zip", "1 .zip")])
def test_a_folder_without_images_is_left_out_as_advised(messy: Messy, extra: str, found: str) -> None:
    root = tree(messy.path / "root", [*each(AB, images=6), extra])
    said = refusal(messy, root)
    assert f"class 'c' is empty: {root}/c has no image ({found})" in said
    assert following(messy, said, root).classes == ["a", "b"]


def test_an_empty_class_of_one_split_is_left_out_of_it_alone(messy: Messy) -> None:
    root = tree(messy.path / "root", [*each(("train", "test"), AB), "train/c/x.png", "test/c/none.txt"])
    said = refusal(messy, root)
    assert advised(said, "--exclude") == ["test/c"]
    assert following(messy, said, root).classes == ["a", "b", "c"]


@pytest.mark.parametrize("wrappers", [("arc",), ("arc", "arc"), ("data", "images")])
def test_a_wrapper_with_other_files_is_named(messy: Messy, wrappers: tuple[str, ...]) -> None:
    root = tree(messy.path / "root", each(*((name,) for name in wrappers), AB, images=6))
    inner = root.joinpath(*wrappers)
    (root / wrappers[0] / "README.txt").write_text("read me")
    assert refusal(messy, root).endswith(f"give --root {inner}")
    assert messy.folder(inner).classes == ["a", "b"]


def test_a_folder_of_images_within_a_split_is_entered(messy: Messy) -> None:
    root = tree(messy.path / "root", each(("train", "test"), ("images",), AB))
    dataset = messy.folder(root)
    assert (dataset.classes, len(dataset.split("test"))) == (["a", "b"], 6)


def test_a_broken_link_among_classes_is_refused(messy: Messy) -> None:
    root = tree(messy.path / "root", each(AB, images=6))
    (root / "c").symlink_to(messy.path / "gone")
    said = refusal(messy, root)
    assert f"class folder {root}/c is a link to {messy.path}/gone, which is not there" in said
    assert following(messy, said, root).classes == ["a", "b"]


def test_images_of_two_splits_are_left_out_as_advised(messy: Messy) -> None:
    root = tree(messy.path / "root", [*each(("train", "test"), AB), "train/a/test/y.png"])
    said = refusal(messy, root)
    assert "image train/a/test/y.png lies in folders of two splits" in said
    assert len(following(messy, said, root).table) == 12


def test_refusals_are_data_errors(messy: Messy) -> None:
    with pytest.raises(DataError, match="no class folders"):
        messy.folder(tree(messy.path / "root", ["readme.txt"]))
