"""Hyper-Kvasir: its fractions, the published split, the official folds, and the official folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.data.dataset.reading.tables import PUBLISHED
from lmd.data.dataset.sources import hyper_kvasir
from lmd.errors import LmdError
from lmd.settings import resolve
from tests import toy

# The authors' tables, classes in alphabetical order: training, validation and test images.
COUNTS = """33/4/4 43/5/5 516/65/65 918/115/115 807/101/101 802/100/100 791/99/99 323/40/40 208/26/26 4/1/1
7/1/1 105/13/13 822/103/103 799/100/100 313/39/39 610/77/77 27/4/4 161/20/20 9/1/1 355/44/44 22/3/3 107/13/13
746/93/93"""
OFFICIAL = "hyper-kvasir_5_fold_split.csv"


def prepare(out: Path, **options: object) -> Dataset:
    return hyper_kvasir.prepare(resolve(hyper_kvasir.Options, options), out)


def test_the_published_tables(shared: Path, tmp_path: Path) -> None:
    prepare(tmp_path / "data", tables=shared / "hyper_kvasir", list_only=True)
    dataset = read_dataset(tmp_path / "data")
    assert [len(dataset.split(split)) for split in SPLITS] == [8_528, 1_067, 1_067]
    counts = np.array([dataset.counts(split) for split in SPLITS])
    assert ["/".join(map(str, column)) for column in counts.T.tolist()] == COUNTS.split()
    assert {name: len(classes) for name, classes in dataset.info.bands.items()} == {
        "head": 9, "medium": 7, "tail": 7
    }  # fmt: skip
    assert "500" in dataset.info.bands_rule
    for split, file in PUBLISHED.items():
        published = pd.read_csv(shared / "hyper_kvasir" / file)
        assert set(published["Video file"]) == set(dataset.split(split)["id"])


def test_its_own_draw_by_seed_42_is_the_published_one(shared: Path, tmp_path: Path) -> None:
    """Of the table in the published order; another seed gives other images in the same numbers."""
    labels = shared / "hyper_kvasir" / "overall.csv"
    dataset = prepare(tmp_path / "data", labels=labels, list_only=True, seed="42")
    for split, file in PUBLISHED.items():
        published = pd.read_csv(shared / "hyper_kvasir" / file)
        assert set(published["Video file"]) == set(dataset.split(split)["id"])
    other = prepare(tmp_path / "other", labels=labels, list_only=True, seed="1")
    assert [len(other.split(split)) for split in SPLITS] == [8_528, 1_067, 1_067]
    assert set(other.split("test")["id"]) != set(dataset.split("test")["id"])


def test_the_official_folds(shared: Path, tmp_path: Path) -> None:
    folder = shared / "hyper_kvasir"
    first = prepare(
        tmp_path / "folds", labels=folder / "overall.csv", folds=str(folder / OFFICIAL), list_only=True
    )
    assert first.folder == tmp_path / "folds" / "fold-1"
    official = pd.read_csv(folder / OFFICIAL, sep=";")
    for fold in range(5):
        dataset = read_dataset(tmp_path / "folds" / f"fold-{fold + 1}")
        tested = official["file-name"][official["split-index"] == fold].str.removesuffix(".jpg")
        assert set(dataset.split("test")["id"]) == set(tested)
        assert len(dataset.table) == 10_662
        assert len(dataset.split("val")) == pytest.approx(len(dataset.table) * 0.8 / 9, rel=0.02)
        assert dataset.counts("val").min() >= 1
        assert dataset.info.recipe["fold"] == fold + 1
        assert set(dataset.info.tables_sha256) == {"overall.csv", OFFICIAL}
    assert not (tmp_path / "folds" / "fold-6").exists()


FINDINGS = [
    ("Lower GI", "polyps", "pathological-findings"),
    ("Lower GI", "cecum", "anatomical-landmarks"),
    ("Upper GI", "z-line", "anatomical-landmarks"),
]


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """The official folder, small: the tree below labeled-images, its table, and official folds."""
    rows, folds = [], []
    for number in range(36):
        organ, finding, kind = FINDINGS[number % 3]
        rows.append(
            {"Video file": f"image-{number:02d}", "Organ": organ, "Finding": finding, "Classification": kind}
        )
        other = {"polyps": "polyp", "cecum": "normal-cecum", "z-line": "normal-z-line"}[finding]
        folds.append(f"image-{number:02d}.jpg;{other};{number // 3 % 4}")
        place = (
            tmp_path / "raw" / "labeled-images" / f"{organ.lower().replace(' ', '-')}-tract" / kind / finding
        )
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(toy.draw(number % 3, number)).save(place / f"image-{number:02d}.jpg")
    pd.DataFrame(rows).to_csv(tmp_path / "raw" / "labeled-images" / "image-labels.csv", index=False)
    (tmp_path / "raw" / "folds.csv").write_text(
        "\n".join(["file-name;class-name;split-index", *folds]) + "\n"
    )
    return tmp_path / "raw"


@pytest.mark.parametrize("below", ["", "labeled-images"])
def test_the_official_folder(official: Path, tmp_path: Path, below: str) -> None:
    prepare(tmp_path / "data", root=official / below)
    dataset = read_dataset(tmp_path / "data")
    assert len(dataset.table) == 36
    assert dataset.classes == ["cecum", "polyps", "z-line"]
    assert dataset.table["file"].str.startswith(("lower-gi-tract/", "upper-gi-tract/")).all()
    listed = prepare(tmp_path / "list", root=official / below, list_only=True)
    assert listed.table["file"].tolist() == dataset.table["file"].tolist()
    assert listed.paths() == dataset.paths()
    assert (listed.table["split"] == dataset.table["split"]).all()


def test_its_folds_by_number_and_by_file(official: Path, tmp_path: Path) -> None:
    prepare(tmp_path / "number", root=official, folds="3", repeats="2")
    names = {f"repeat-{repeat}/fold-{fold}" for repeat in (1, 2) for fold in (1, 2, 3)}
    for name in names:
        assert len(read_dataset(tmp_path / "number" / name).split("test")) == 12
    prepare(tmp_path / "file", root=official, folds=official / "folds.csv")
    for fold in range(4):
        dataset = read_dataset(tmp_path / "file" / f"fold-{fold + 1}")
        assert {int(name[-2:]) // 3 % 4 for name in dataset.split("test")["id"]} == {fold}


def test_an_image_in_the_folder_of_another_finding_is_said(
    official: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = official / "labeled-images" / "lower-gi-tract" / "pathological-findings" / "polyps"
    (place / "image-00.jpg").rename(official / "labeled-images" / "image-00.jpg")
    prepare(tmp_path / "data", root=official)
    assert "1 image lies in the folder of another finding" in caplog.text
    place.rename(place.with_name("polyp"))  # The name that the official folds give it is no other finding.
    caplog.clear()
    prepare(tmp_path / "again", root=official)
    assert "1 image lies in the folder of another finding" in caplog.text


def test_missing_images(official: Path, tmp_path: Path) -> None:
    next((official / "labeled-images").rglob("image-07.jpg")).unlink()
    with pytest.raises(LmdError, match=r"1 of 36 images is missing .*image-07.*--allow-missing"):
        prepare(tmp_path / "data", root=official)
    dataset = prepare(tmp_path / "data", root=official, allow_missing=True)
    assert (len(dataset.table), dataset.info.recipe["missing_images"]) == (35, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs --root DIR .*, --labels FILE, --tables DIR"),
        ({"root": "."}, r"no image-labels\.csv in .*--labels"),
        ({"root": "raw", "folds": "1"}, "folds = '1'.*at least 2"),
        ({"root": "raw", "folds": "nowhere.csv"}, r"cannot read nowhere\.csv"),
        ({"root": "raw", "folds": "short.csv"}, r"short\.csv does not list each of the 36"),
        ({"root": "raw", "folds": "wrong.csv"}, "calls image 'image-00' 'normal-cecum', not 'polyps'"),
        ({"root": "raw", "folds": "gap.csv"}, "must number its folds 0, 1"),
        ({"tables": "raw", "folds": "2"}, "exclude each other"),
        ({"tables": "raw", "list_only": True}, r"cannot read raw/training\.csv"),
        ({"labels": "double.csv", "list_only": True}, "lists image 'image-00' more than once"),
        ({"labels": "mute.csv", "list_only": True}, "gives image 'image-00' no Finding"),
    ],
)
def test_what_is_wrong_is_named(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folds = (official / "folds.csv").read_text()
    Path("short.csv").write_text(folds.replace("image-35.jpg;normal-z-line;3\n", ""))
    Path("wrong.csv").write_text(folds.replace("image-00.jpg;polyp", "image-00.jpg;normal-cecum"))
    Path("gap.csv").write_text(folds.replace(";3\n", ";4\n"))
    labels = (official / "labeled-images" / "image-labels.csv").read_text()
    Path("double.csv").write_text(labels.replace("image-01", "image-00"))
    Path("mute.csv").write_text(labels.replace("image-00,Lower GI,polyps", "image-00,Lower GI,"))
    with pytest.raises(LmdError, match=message):
        prepare(tmp_path / "data", **options)
    assert not (tmp_path / "data").exists()
