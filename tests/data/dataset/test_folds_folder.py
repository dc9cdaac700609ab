"""A folds folder as it is read: what it names, what must be so, and the form of earlier versions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

import lmd
from lmd.data.dataset.folds_folder import Folds, is_folds, read_folds
from lmd.data.dataset.manifest import read_dataset, write_dataset
from lmd.data.decode import cache
from lmd.data.decode.cache import open_cache
from lmd.errors import DataError
from tests import toy


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folds and repeated folds of 48 images of 24 patients."""
    root = tmp_path_factory.mktemp("folds")
    (root / "images").mkdir()
    rows: list[dict[str, str]] = []
    for number in range(48):
        label = toy.CLASSES[0 if number < 24 else 1 if number < 36 else 2]
        Image.fromarray(toy.draw(0, number)).save(root / "images" / f"x{number:02d}.png")
        rows.append({"image": f"x{number:02d}.png", "label": label, "patient": f"p{number // 2}"})
    pd.DataFrame(rows).to_csv(root / "cases.csv", index=False)
    told = {"root": root / "images", "table": root / "cases.csv"}
    lmd.prepare("table", root / "cv", folds=3, **told)
    lmd.prepare("table", root / "both", folds=2, repeats=2, seed=5, **told)
    lmd.prepare("table", root / "many", repeats=2, **told)
    return root


@pytest.fixture
def cv(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "cv", tmp_path / "cv"))


def test_what_the_folder_names(made: Path) -> None:
    folds = lmd.read_dataset(made / "cv")
    assert isinstance(folds, Folds)
    assert folds.names == ["fold-1", "fold-2", "fold-3"]
    assert (folds.info.folds, folds.info.repeats, folds.info.seed) == (3, None, 42)
    assert folds.info.title == "cases"
    for name, dataset in folds.datasets.items():
        assert dataset.folder == made / "cv" / name
        assert folds.info.manifests_sha256[name] == dataset.info.manifest_sha256
        pd.testing.assert_frame_equal(dataset.table, read_dataset(made / "cv" / name).table)


def test_repeats_have_names_and_seeds(made: Path) -> None:
    both = read_folds(made / "both")
    assert both.names == [f"repeat-{repeat}/fold-{fold}" for repeat in (1, 2) for fold in (1, 2)]
    assert (both.info.folds, both.info.repeats, both.info.seed) == (2, 2, 5)
    assert [data.info.recipe["seed"] for data in both.datasets.values()] == [5, 5, 6, 6]
    many = read_folds(made / "many")
    assert many.names == ["repeat-1", "repeat-2"]
    assert (many.info.folds, many.info.repeats) == (None, 2)


def test_a_data_set_or_anything_else_is_no_folder_of_folds(made: Path, tmp_path: Path) -> None:
    assert is_folds(made / "cv")
    assert not is_folds(made / "cv" / "fold-1")
    assert not is_folds(made / "images")
    assert not is_folds(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no folds folder"):
        read_folds(tmp_path)


@pytest.mark.parametrize("name", ["cv", "both", "many"])
def test_folders_of_earlier_versions_are_read(made: Path, tmp_path: Path, name: str) -> None:
    """They begin with 0 and have no folds.json."""
    new = read_folds(made / name)
    for fold in new.names:
        words = [part.split("-") for part in fold.split("/")]
        old = "/".join(f"{word}-{int(number) - 1}" for word, number in words)
        shutil.copytree(made / name / fold, tmp_path / "old" / old)
    read = lmd.read_dataset(tmp_path / "old")
    assert isinstance(read, Folds)
    assert len(read.names) == len(new.names)
    assert [data.info.manifest_sha256 for data in read.datasets.values()] == list(
        new.info.manifests_sha256.values()
    )
    assert (read.info.folds, read.info.repeats) == (new.info.folds, new.info.repeats)
    assert read.names[0] == {"cv": "fold-0", "both": "repeat-0/fold-0", "many": "repeat-0"}[name]


def test_a_damaged_folder_is_refused_in_one_line(cv: Path) -> None:
    text = (cv / "folds.json").read_text()

    def refused(match: str) -> None:
        with pytest.raises(DataError, match=match) as caught:
            lmd.read_dataset(cv)
        assert "\n" not in str(caught.value)

    (cv / "folds.json").write_text("{")
    refused("folds.json is damaged")
    (cv / "folds.json").write_text(text.replace("fold-1", "../fold-1"))
    refused("folds.json is damaged")
    (cv / "folds.json").write_text(json.dumps({**json.loads(text), "manifests_sha256": {}}))
    refused("folds.json is damaged")
    (cv / "folds.json").write_text(text.replace("fold-1", "fold-" + "1" * 300))
    refused("folds.json is damaged")  # A name that no folder can have.
    (cv / "folds.json").write_text(text.replace("{", '{"seed": 1, ', 1))
    refused("folds.json is damaged: it has the name 'seed' twice")
    (cv / "folds.json").unlink()
    refused(r"has no folds\.json")
    (cv / "folds.json").write_text(text)
    (cv / "fold-2").rename(cv / "elsewhere")
    refused("fold-2 of .* is missing")
    shutil.copytree(cv / "fold-1", cv / "fold-2")
    refused(r"fold-2 is not the fold that .*folds\.json names")


def test_images_in_two_tests_or_none_are_refused(cv: Path) -> None:
    first = read_dataset(cv / "fold-1")
    told = json.loads((cv / "folds.json").read_text())

    def replaced(table: pd.DataFrame, match: str) -> None:
        shutil.rmtree(cv / "fold-1")
        dataset = write_dataset(cv / "fold-1", table, first.info)
        told["manifests_sha256"]["fold-1"] = dataset.info.manifest_sha256
        (cv / "folds.json").write_text(json.dumps(told))
        with pytest.raises(DataError, match=match):
            read_folds(cv)

    group = first.split("test")["group"].iloc[0]
    lost = first.table.assign(split=first.table["split"].mask(first.table["group"] == group, "train"))
    replaced(lost, r"is in the test of no fold of .*\(2 such images\)")
    group = first.split("train")["group"].iloc[-1]
    again = first.table.assign(split=first.table["split"].mask(first.table["group"] == group, "test"))
    replaced(again, r"is in the test of more than one fold of .*\(2 such images\)")
    replaced(first.table.iloc[1:], "fold-2 has other images, labels or groups than .*fold-1")


def test_missing_images_are_told_once_and_may_be_missing(cv: Path, tmp_path: Path) -> None:
    for file in cv.rglob("dataset.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "image_root": str(tmp_path / "gone")}))
    with pytest.raises(DataError, match="48 missing in all"):
        read_folds(cv)
    assert len(read_folds(cv, check_files=False).names) == 3


def test_folds_share_their_decoded_images(cv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Path] = []
    real = cache.decode_small
    monkeypatch.setattr(cache, "decode_small", lambda path, *rest: decoded.append(path) or real(path, *rest))
    arrays = [open_cache(dataset, 16) for dataset in read_folds(cv).datasets.values()]
    assert len(decoded) == 48
    assert all((array == arrays[0]).all() for array in arrays)
    assert not (cv / "fold-1" / "cache").exists()
    assert (cv / "cache").is_dir()


def test_read_only_folds_share_a_place_elsewhere(
    cv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lmd.data.decode import place

    monkeypatch.setattr(place, "_can_write", lambda folder: cv not in folder.parents)
    monkeypatch.setenv("LMD_CACHE", str(tmp_path / "elsewhere"))
    places = {place.cache_folder(dataset) for dataset in read_folds(cv).datasets.values()}
    assert len(places) == 1
    assert (tmp_path / "elsewhere") in next(iter(places)).parents
