"""Which data set is a run's own: names, labels and splits may be equal by chance, so that the files decide."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import lmd
from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.run_folder import RunFolder
from tests import toy
from tests.command import Command, refused

SETTINGS = {**toy.COMMON, "stage1": {"epochs": 1}}


def twin(trained: tuple[Path, Dataset], folder: Path) -> Dataset:
    """A copy of the whole data set: images and dataset folder."""
    place = trained[1].folder.parent
    shutil.copytree(place / "images", folder / "images")
    shutil.copytree(place / "data", folder / "data", ignore=shutil.ignore_patterns("cache"))
    info = json.loads((folder / "data" / "dataset.json").read_text())
    info["image_root"] = "../images"
    (folder / "data" / "dataset.json").write_text(json.dumps(info))
    return read_dataset(folder / "data")


def permuted(trained: tuple[Path, Dataset], folder: Path) -> Dataset:
    """The images of the data set under each other's names."""
    found = twin(trained, folder)
    names = found.table["file"].tolist()
    for name, other in zip(names, [*names[30:], *names[:30]], strict=True):
        shutil.copy(trained[1].root / other, found.root / name)
    return found


def new_images(trained: tuple[Path, Dataset], folder: Path) -> Dataset:
    """Images that the run has not seen, under the names of its own."""
    from PIL import Image

    found = twin(trained, folder)
    for number, name in enumerate(found.table["file"]):
        Image.fromarray(toy.draw(number % 3, 7000 + number)).save(found.root / name)
    return found


def without_hashes(run: Path) -> Path:
    """The run as an earlier version made it."""
    (run / "model" / "images.json").unlink()
    return run


def test_a_copy_is_the_runs_own(trained: tuple[Path, Dataset], run: Path, tmp_path: Path) -> None:
    data = twin(trained, tmp_path / "copy")
    for one in (run, without_hashes(Path(shutil.copytree(run, tmp_path / "old")))):
        assert lmd.evaluate(one, "train", data=data).overlap is None
        assert lmd.evaluate(one, data=data).data is None


def test_training_images_under_permuted_names_are_refused(
    lmd: Command, trained: tuple[Path, Dataset], run: Path, tmp_path: Path
) -> None:
    data = permuted(trained, tmp_path / "permuted")
    assert data.info.manifest_sha256 == trained[1].info.manifest_sha256
    table = trained[1].table
    order = table["split"].tolist()
    before = [*order[30:], *order[:30]]
    seen = sum(now == "test" and then == "train" for now, then in zip(order, before, strict=True))
    result = lmd("evaluate", run, "--data", data.folder)
    refused(result, f"{seen} of 15 images were trained on", "its training images are others")
    result = lmd("evaluate", without_hashes(run), "--data", data.folder)
    refused(result, f"{seen} of 15 images were trained on")


def test_new_images_under_the_same_names_are_another_data_set(
    trained: tuple[Path, Dataset], run: Path, tmp_path: Path
) -> None:
    data = new_images(trained, tmp_path / "new")
    for split in ("train", "test"):
        lmd.evaluate(run, split, data=data)
        file = RunFolder(run).evaluation(split, data.info.manifest_sha256)
        found = json.loads(file.read_text())
        assert found["data"]["title"] == "toy"
        assert found["overlap"]["images"] == 0
        assert "its training images are others" in found["overlap"]["note"]
    assert lmd.evaluate(without_hashes(run), data=data).data is not None


def test_an_old_run_whose_data_are_gone_goes_by_the_manifest_and_says_so(
    trained: tuple[Path, Dataset], run: Path, tmp_path: Path
) -> None:
    lines = (run / "settings.yaml").read_text().splitlines()
    moved = ["data: /nowhere/data" if line.startswith("data:") else line for line in lines]
    (run / "settings.yaml").write_text("\n".join(moved))
    found = lmd.evaluate(without_hashes(run), data=twin(trained, tmp_path / "copy"))
    assert found.data is None
    assert found.overlap is not None
    assert "by its manifest alone" in found.overlap.note


def test_moved_data_are_asked_for(lmd: Command, run: Path) -> None:
    text = (run / "settings.yaml").read_text()
    lines = ["data: /nowhere/data" if line.startswith("data:") else line for line in text.splitlines()]
    (run / "settings.yaml").write_text("\n".join(lines))
    refused(lmd("evaluate", run), "no longer at /nowhere/data", "--data DIR")


def test_a_run_is_measured_on_one_fold(
    lmd: Command, trained: tuple[Path, Dataset], run: Path, tmp_path: Path
) -> None:
    """The folder is as earlier versions made it: its folds begin with 0, and nothing names them."""
    shutil.copytree(trained[1].folder, tmp_path / "folds" / "fold-0")
    words = ["has folds", "is one run", "folds/fold-0"]
    refused(lmd("evaluate", run, "--data", tmp_path / "folds"), *words)
