"""MedMNIST: a file on disk, the package where it is installed, and sets that cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.data.dataset.sources import medmnist
from lmd.data.decode.images import decode
from lmd.errors import LmdError
from lmd.settings import resolve

COUNTS = {"train": 28, "val": 9, "test": 14}


def make(path: Path, classes: int = 7, size: int = 28, **change: Any) -> Path:
    """Writes a set of random images: `colour` or grey, with labels [N, 1] as the real ones."""
    colour = change.pop("colour", True)
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, count in COUNTS.items():
        shape = (count, size, size, 3) if colour else (count, size, size)
        arrays[f"{split}_images"] = random.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % classes).astype(np.uint8)[:, None]
    arrays |= change
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def prepare(out: Path, **options: object) -> Dataset:
    medmnist.prepare(resolve(medmnist.Options, {"name": "dermamnist", **options}), out)
    return read_dataset(out)


def test_a_file_on_disk(tmp_path: Path) -> None:
    path = make(tmp_path / "dermamnist.npz")
    dataset = prepare(tmp_path / "data", root=path)
    assert {split: len(dataset.split(split)) for split in SPLITS} == COUNTS
    assert dataset.classes[4] == "melanoma"
    with np.load(path) as arrays:
        for split in SPLITS:
            rows = dataset.split(split)
            assert (dataset.labels(split) == arrays[f"{split}_labels"][:, 0]).all()
            for row, image in zip(rows["file"], arrays[f"{split}_images"], strict=True):
                np.testing.assert_array_equal(decode(dataset.root / row), image)
    assert dataset.info.licence == "CC BY-NC 4.0"
    assert list(dataset.info.tables_sha256) == ["dermamnist.npz"]
    (tmp_path / "data").rename(tmp_path / "moved")
    assert all(path.is_file() for path in read_dataset(tmp_path / "moved").paths())


def test_grey_sets_become_rgb(tmp_path: Path) -> None:
    path = make(tmp_path / "octmnist.npz", classes=4, colour=False)
    dataset = prepare(tmp_path / "data", name="octmnist", root=path)
    with Image.open(dataset.paths()[0]) as image:
        assert image.mode == "RGB"
        with np.load(path) as arrays:
            np.testing.assert_array_equal(np.asarray(image)[..., 1], arrays["train_images"][0])


def test_the_larger_sizes_have_files_of_their_own(tmp_path: Path) -> None:
    make(tmp_path / "dermamnist.npz")
    make(tmp_path / "dermamnist_64.npz", size=64)
    dataset = prepare(tmp_path / "data", size="64", root=tmp_path)
    assert decode(dataset.paths()[0]).shape == (64, 64, 3)


SOUND: dict[str, object] = {"root": "dermamnist.npz"}


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        ({"name": "chestmnist"}, {}, "chestmnist gives an image several labels"),
        ({"name": "organmnist3d"}, {}, "three dimensions"),
        ({"name": "dermmnist"}, {}, "unknown MedMNIST set 'dermmnist'; did you mean 'dermamnist'"),
        ({**SOUND, "size": "32"}, {}, "size = '32'.*28, 64, 128, 224"),
        ({**SOUND, "size": "64"}, {}, r"images of shape \(28, 28, 3\).*--size"),
        ({"root": "nowhere"}, {}, "no file nowhere"),
        ({"root": ".", "size": "64"}, {}, r"no file dermamnist_64\.npz"),
        ({"root": "text.npz"}, {}, r"text\.npz is not a MedMNIST file"),
        ({"root": "cut.npz"}, {}, r"cut\.npz is not a MedMNIST file"),
        ({"root": "single.npy"}, {}, r"single\.npy is not a MedMNIST file"),
        (SOUND, {"val_images": None}, "it lacks val_images"),
        (SOUND, {"train_labels": np.ones((28, 14), dtype=np.uint8)}, "an image 14 labels"),
        (SOUND, {"train_labels": np.full((28, 1), 7)}, "each train image a label from 0 to 6"),
        (SOUND, {"train_labels": np.zeros((28, 1))}, "each train image a label from 0 to 6"),
        (SOUND, {"train_labels": np.zeros((27, 1), dtype=int)}, "each train image a label"),
        (SOUND, {"train_labels": np.array([[{}]] * 28, dtype=object)}, "not a MedMNIST file.*allow_pickle"),
        (SOUND, {"test_images": np.zeros((14, 28, 28, 28), dtype=np.uint8)}, "grey or RGB"),
        (SOUND, {"test_images": np.zeros((14, 28, 28))}, "type float64"),
        (SOUND, {f"{split}_labels": np.zeros((n, 1), dtype=int) for split, n in COUNTS.items()}, "is empty"),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], change: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("dermamnist.npz"), **change)
    Path("text.npz").write_text("this is no archive")
    Path("cut.npz").write_bytes(Path("dermamnist.npz").read_bytes()[:3000])
    np.save("single.npy", np.zeros(3))
    with pytest.raises(LmdError, match=message) as caught:
        prepare(tmp_path / "data", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_without_the_package_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "medmnist", None)
    with pytest.raises(LmdError, match=r"-m pip install -e '\.\[medmnist\]'.*dermamnist_64\.npz with --root"):
        prepare(tmp_path / "data", size="64")


def fake_package(folder: Path, error: Exception | None = None) -> SimpleNamespace:
    """A package that "downloads" into a folder as the real one does, or fails to."""

    def kind(split: str, download: bool, size: int, mmap_mode: str) -> SimpleNamespace:
        assert download
        if error is not None:
            raise error
        make(folder / f"dermamnist_{size}.npz", size=size)
        print("Downloading ...")
        return SimpleNamespace(root=str(folder))

    return SimpleNamespace(INFO={"dermamnist": {"python_class": "DermaMNIST"}}, DermaMNIST=kind)


def test_the_package_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "medmnist", fake_package(tmp_path))
    dataset = prepare(tmp_path / "data", size="64")
    assert len(dataset.table) == sum(COUNTS.values())
    assert capsys.readouterr().out == ""


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("\n   Automatic download failed! Please ...\n  1. [Optional] ...\n")
    monkeypatch.setitem(sys.modules, "medmnist", fake_package(tmp_path, error))
    with pytest.raises(LmdError, match=r"was not downloaded: Automatic download failed!.*--root") as caught:
        prepare(tmp_path / "data")
    assert "\n" not in str(caught.value)


def test_the_classes_are_as_many_as_the_package_has() -> None:
    package = pytest.importorskip("medmnist")
    flat = {
        name: info for name, info in package.INFO.items() if not name.endswith("3d") and name != "chestmnist"
    }
    assert {name: len(info["label"]) for name, info in flat.items()} == {
        name: len(classes) for name, classes in medmnist.CLASSES.items()
    }
    limited = {name for name, info in flat.items() if "NC" in info["license"]}
    assert limited == set(medmnist._NON_COMMERCIAL)
