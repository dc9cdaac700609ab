"""ISIC Archive: the published tables, and metadata exports of today and of 2022."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lmd.data.dataset.checks import SPLITS, crossing_groups
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.data.dataset.reading.tables import PUBLISHED
from lmd.data.dataset.sources import isic_archive
from lmd.errors import DataError, LmdError
from lmd.settings import resolve
from tests import toy

HEAD, MEDIUM = ["NV", "MEL", "BCC", "SK"], ["AK", "SCC", "BKL", "SL"]
TAIL = ["VASC", "DF", "LK", "LS", "AN", "AMP"]

# A diagnosis of each class: as exported in 2022, and as the five levels of today.
OLD = {
    "AK": "actinic keratosis", "AMP": "atypical melanocytic proliferation", "AN": "angioma",
    "BCC": "basal cell carcinoma", "BKL": "pigmented benign keratosis", "DF": "dermatofibroma",
    "LK": "lichenoid keratosis", "LS": "lentigo simplex", "MEL": "melanoma", "NV": "nevus",
    "SCC": "squamous cell carcinoma", "SK": "seborrheic keratosis", "SL": "solar lentigo",
    "VASC": "vascular lesion",
}  # fmt: skip
NEW = {
    "AK": ("Indeterminate", "Indeterminate epidermal proliferations", "Solar or actinic keratosis", "", ""),
    "AMP": ("Indeterminate", "Indeterminate melanocytic proliferations", "Atypical melanocytic neoplasm", "", ""),
    "AN": ("Benign", "Benign soft tissue proliferations - Vascular", "Hemangioma", "", ""),
    "BCC": ("Malignant", "Malignant adnexal epithelial proliferations - Follicular", "Basal cell carcinoma",
            "Basal cell carcinoma, Nodular", ""),
    "BKL": ("Benign", "Benign epidermal proliferations", "Pigmented benign keratosis", "", ""),
    "DF": ("Benign", "Benign soft tissue proliferations - Fibro-histiocytic", "Dermatofibroma", "", ""),
    "LK": ("Benign", "Benign epidermal proliferations", "Lichen planus like keratosis", "", ""),
    "LS": ("Benign", "Benign melanocytic proliferations", "Lentigo simplex", "", ""),
    "MEL": ("Malignant", "Malignant melanocytic proliferations (Melanoma)", "Melanoma in situ",
            "Melanoma in situ, Lentigo maligna type", ""),
    "NV": ("Benign", "Benign melanocytic proliferations", "Nevus", "Nevus, Spitz", "Nevus, Spitz, Desmoplastic"),
    "SCC": ("Malignant", "Malignant epidermal proliferations", "Squamous cell carcinoma, Invasive", "", ""),
    "SK": ("Benign", "Benign epidermal proliferations", "Seborrheic keratosis", "", ""),
    "SL": ("Benign", "Benign epidermal proliferations", "Solar lentigo", "", ""),
    "VASC": ("Benign", "Benign soft tissue proliferations - Vascular", "", "", ""),
}  # fmt: skip
OTHER_OLD = ["AIMP", "melanoma metastasis", "", ""]
OTHER_NEW = [
    ("Benign", "Benign soft tissue proliferations - Vascular", "Pyogenic granuloma", "", ""),
    ("Malignant", "Malignant melanocytic proliferations (Melanoma)", "Melanoma metastasis", "", ""),
    ("Benign", "", "", "", ""),
    ("", "", "", "", ""),
]


def prepare(out: Path, **options: object) -> Dataset:
    isic_archive.prepare(resolve(isic_archive.Options, options), out)
    return read_dataset(out)


def export(path: Path, vintage: str, per_class: int = 12) -> pd.DataFrame:
    """Writes a metadata export: three images of a patient, two of a lesion; some are of no class."""
    classes = [name for name in isic_archive.CLASSES for _ in range(per_class)]
    count = len(classes) + 4
    table = pd.DataFrame({"isic_id": [f"ISIC_{number:07d}" for number in range(count)]})
    table["attribution"], table["copyright_license"], table["age_approx"] = "Anonymous", "CC-BY", "50"
    if vintage in ("2022", "between"):
        table["benign_malignant"] = "benign"
        table["diagnosis"] = [*[OLD[name] for name in classes], *OTHER_OLD]
    if vintage in ("today", "between"):
        for level in range(5):
            words = [*[NEW[name][level] for name in classes], *[names[level] for names in OTHER_NEW]]
            table[f"diagnosis_{level + 1}"] = words
    table["lesion_id"] = [f"IL_{number // 2:07d}" for number in range(count)]
    table["patient_id"] = [f"IP_{number // 4:07d}" if number % 2 else "" for number in range(count)]
    table["label"] = "a column of our own name"
    table.to_csv(path, index=False)
    return table


def test_the_published_tables(shared: Path, tmp_path: Path) -> None:
    tables = shared / "reference_splits" / "isic_archive_lt"
    dataset = prepare(tmp_path / "data", tables=tables, list_only=True)
    assert [len(dataset.split(split)) for split in SPLITS] == [17_508, 2_509, 5_003]
    assert dataset.classes == [
        "AK",
        "AMP",
        "AN",
        "BCC",
        "BKL",
        "DF",
        "LK",
        "LS",
        "MEL",
        "NV",
        "SCC",
        "SK",
        "SL",
        "VASC",
    ]
    assert dataset.info.bands == {"head": HEAD, "medium": MEDIUM, "tail": TAIL}
    for split, file in PUBLISHED.items():
        published = pd.read_csv(tables / file).set_index("image").idxmax(axis=1)
        assert dict(published) == dict(dataset.split(split)[["id", "label"]].to_numpy())
    assert sorted(dataset.info.tables_sha256) == sorted(PUBLISHED.values())
    assert dataset.info.recipe["splits"] == "as given"
    assert crossing_groups(dataset.table) == []


@pytest.mark.parametrize("vintage", ["today", "2022", "between"])
def test_an_export_of_each_vintage(tmp_path: Path, vintage: str, caplog: pytest.LogCaptureFixture) -> None:
    exported = export(tmp_path / "metadata.csv", vintage)
    dataset = prepare(tmp_path / "data", metadata=tmp_path / "metadata.csv", list_only=True)
    assert len(dataset.table) == len(exported) - 4
    expected = [name for name in isic_archive.CLASSES for _ in range(12)]
    assert dataset.table["label"].tolist() == expected
    unmapped = dataset.info.recipe["unmapped"]
    assert sum(unmapped.values()) == 4
    told = (
        {"AIMP", "melanoma metastasis"}
        if vintage != "today"
        else {"Pyogenic granuloma", "Melanoma metastasis"}
    )
    assert told <= set(unmapped)
    assert unmapped["(no diagnosis)"] == {"2022": 2, "today": 2, "between": 2}[vintage]
    assert "4 of 172 images are of no class of the 14" in caplog.text
    assert set(dataset.table["copyright_license"]) == {"CC-BY"}
    assert list(dataset.info.tables_sha256) == ["metadata.csv"]


def test_patients_stay_together_by_any_of_their_images(tmp_path: Path) -> None:
    """Only every other image names its patient; its lesion's other image tells who it is."""
    exported = export(tmp_path / "metadata.csv", "2022")
    dataset = prepare(tmp_path / "data", metadata=tmp_path / "metadata.csv", list_only=True)
    assert crossing_groups(dataset.table) == []
    number = dataset.table["id"].str[5:].astype(int)
    assert dataset.table["group"].tolist() == [f"IP_{n // 4:07d}" for n in number]
    by_lesion = prepare(
        tmp_path / "lesion", metadata=tmp_path / "metadata.csv", list_only=True, split="lesion"
    )
    assert by_lesion.table["group"].tolist() == exported["lesion_id"][:-4].tolist()
    blank = exported.assign(patient_id="", lesion_id=[*exported["lesion_id"][:-6], *[""] * 6])
    blank.to_csv(tmp_path / "blank.csv", index=False)
    alone = prepare(tmp_path / "alone", metadata=tmp_path / "blank.csv", list_only=True)
    assert alone.table["group"].tolist()[-2:] == alone.table["id"].tolist()[-2:]


def test_the_split_is_stratified(tmp_path: Path) -> None:
    export(tmp_path / "metadata.csv", "today", per_class=40)
    dataset = prepare(tmp_path / "data", metadata=tmp_path / "metadata.csv", list_only=True)
    shares = np.array([dataset.counts(split) for split in SPLITS]) / 40
    assert np.abs(shares - np.array([[0.7], [0.1], [0.2]])).max() <= 0.1


def test_images_of_both_endings_in_any_folder(tmp_path: Path) -> None:
    exported = export(tmp_path / "metadata.csv", "today", per_class=4)
    for number, name in enumerate(exported["isic_id"]):
        file = tmp_path / "images" / ["a", "b"][number % 2] / f"{name}{['.jpg', '.JPG'][number // 2 % 2]}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(toy.draw(number % 3, number)).save(file, "JPEG")
    lower = tmp_path / "images" / "b" / "ISIC_0000003.JPG"
    lower.rename(lower.with_name("isic_0000003.jpg"))  # As some file systems hand them on.
    wanted: dict[str, object] = {"root": tmp_path / "images", "metadata": tmp_path / "metadata.csv"}
    dataset = prepare(tmp_path / "data", **wanted)
    assert len(dataset.table) == 56
    assert set(dataset.table["file"].str[-4:]) == {".jpg", ".JPG"}
    assert not dataset.info.list_only
    dataset.paths()[5].unlink()
    with pytest.raises(DataError, match=r"1 of 56 images is missing .*first: ISIC_0000005.*--allow-missing"):
        prepare(tmp_path / "again", **wanted)
    assert len(prepare(tmp_path / "again", **wanted, allow_missing=True).table) == 55


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs --tables DIR .* or --metadata FILE"),
        ({"tables": ".", "metadata": "metadata.csv"}, "needs --tables DIR .* or --metadata FILE"),
        ({"tables": "nowhere"}, r"cannot read nowhere/training\.csv"),
        ({"metadata": "metadata.csv"}, "name their folder with --root, or go without with --list-only"),
        ({"metadata": "metadata.csv", "root": "nowhere"}, "no folder nowhere"),
        ({"metadata": "double.csv", "list_only": True}, "lists image 'ISIC_0000000' more than once"),
        ({"metadata": "mute.csv", "list_only": True}, "lacks the columns 'diagnosis'"),
        ({"metadata": "other.csv", "list_only": True}, "lacks the column 'isic_id'"),
        ({"metadata": "none.csv", "list_only": True}, "no usable image"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    table = export(Path("metadata.csv"), "2022")
    table.assign(isic_id=["ISIC_0000000", *table["isic_id"][:-1]]).to_csv("double.csv", index=False)
    table.drop(columns="diagnosis").to_csv("mute.csv", index=False)
    table.rename(columns={"isic_id": "name"}).to_csv("other.csv", index=False)
    table.assign(diagnosis="other").to_csv("none.csv", index=False)
    with pytest.raises(LmdError, match=message):
        prepare(tmp_path / "data", **options)
    assert not (tmp_path / "data").exists()
