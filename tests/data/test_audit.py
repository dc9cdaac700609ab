"""The fingerprint says what a person must know before training."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lmd.data.audit import fingerprint, format_fingerprint, summary_lines
from lmd.data.manifest import Dataset, write_dataset
from tests import toy


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return toy.make_dataset(tmp_path)


def lines(dataset: Dataset) -> str:
    return "\n".join(format_fingerprint(fingerprint(dataset)))


def test_counts_groups_and_imbalance(dataset: Dataset) -> None:
    found = fingerprint(dataset)
    assert found["counts"] == {"train": [40, 12, 5], "val": [8, 4, 3], "test": [8, 4, 3]}
    assert (found["images"], found["imbalance"], found["lesions"]) == (87, 8.0, 87)
    rows = [line.split() for line in lines(dataset).splitlines()]
    assert ["rare", "tail", "5", "3", "3", "11"] in rows
    assert ["all", "57", "15", "15", "87"] in rows
    assert "imbalance in training: 8.0; by hand" in lines(dataset)


def test_the_worth_of_a_test_image(dataset: Dataset) -> None:
    assert fingerprint(dataset)["identical"] == []
    assert "class rare has 3 test images: one image is 33.3 points of its recall and 11.1" in lines(dataset)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (("train", "val"), "there is no test split"),
        (("train", "val", "test"), "class rare has no test image: its recall cannot be measured"),
    ],
)
def test_a_class_without_test_images(
    dataset: Dataset, tmp_path: Path, keep: tuple[str, ...], message: str
) -> None:
    table = dataset.table[dataset.table["split"].isin(keep)]
    table = table[(table["label"] != "rare") | (table["split"] != "test")]
    assert message in lines(write_dataset(tmp_path / "less", table, dataset.info))


def test_groups_across_splits_are_called_a_leak(dataset: Dataset, tmp_path: Path) -> None:
    groups = dataset.table["group"].tolist()
    groups[:8] = groups[-8:]
    info = dataset.info.model_copy(update={"recipe": {"split": "image"}})
    leaky = write_dataset(tmp_path / "leaky", dataset.table.assign(group=groups), info)
    assert len(fingerprint(leaky)["crossing_groups"]) == 8
    text = lines(leaky)
    assert "of which 8 have images in more than one split" in text
    assert "LEAK" in text
    assert "first: image079, image080, image081, image082, image083\n" in text  # Not all of them.


def test_identical_files_are_found_and_a_long_list_is_cut(dataset: Dataset) -> None:
    paths = dataset.paths()
    for number in range(7):
        shutil.copy(paths[number], paths[80 + number])
    shutil.copy(paths[20], paths[21])
    found = fingerprint(dataset)["identical"]
    assert len(found) == 8
    assert {"ids": ["image000", "image080"], "splits": ["test", "train"]} in found
    assert {"ids": ["image020", "image021"], "splits": ["train"]} in found
    text = lines(dataset)
    assert "identical images: image000, image080 (in test, train)" in text
    assert "identical images: 3 more sets" in text
    assert text.count("identical images") == 6


def test_what_prepare_says(dataset: Dataset) -> None:
    assert summary_lines(dataset) == [f"{dataset.folder}: 87 images, 3 classes (train 57, val 15, test 15)"]
    info = dataset.info.model_copy(update={"recipe": {"skipped": 2}})
    assert "2 unreadable images" in summary_lines(Dataset(dataset.folder, dataset.table, info))[1]
