"""A model measured on other data than its own: classes that are absent, and images or patients seen before."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import lmd
from lmd.data.dataset.manifest import Dataset, read_dataset, write_dataset
from lmd.evaluation.results import Evaluation, Overlap, read_evaluation
from lmd.run_folder import RunFolder
from tests import toy
from tests.command import Command, refused

SETTINGS = {**toy.COMMON, "stage1": {"epochs": 1}}
Draw = Callable[[int, Path], None]


def new_image(number: int, path: Path) -> None:
    """An image that no training has seen, of the class number modulo 3."""
    Image.fromarray(toy.draw(number % 3, 5000 + number)).save(path)


def external(
    folder: Path, draw: Draw = new_image, count: int = 12, split: str = "test", **columns: list[str]
) -> Dataset:
    """Prepares a table of images, all of one split, their classes in turn; `columns` replace or add some."""
    (folder / "images").mkdir(parents=True)
    names = [f"new{number:02d}.png" for number in range(count)]
    for number, name in enumerate(names):
        draw(number, folder / "images" / name)
    labels = [toy.CLASSES[number % 3] for number in range(count)]
    table = pd.DataFrame({"image": names, "label": labels, "split": split, **columns})
    table.to_csv(folder / "cases.csv", index=False)
    return lmd.prepare("table", folder / "data", root=folder / "images", table=folder / "cases.csv")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def saved(run: Path, split: str = "test", on: str = "-on-*") -> dict[str, Any]:
    """The one evaluation of other data; or, with no `on`, that of the run's own."""
    (file,) = run.glob(f"evaluation-{split}{on}.json")
    return json.loads(file.read_text())


def overlap(run: Path, data: Dataset | None, allow: bool = False, split: str = "test") -> Overlap:
    found = lmd.evaluate(run, split, data=data, allow_overlap=allow).overlap
    assert found is not None
    return found


# What a run keeps.


def test_a_run_keeps_hashes_of_what_it_saw_and_no_names(trained: tuple[Path, Dataset]) -> None:
    run, dataset = trained
    text = (run / "model" / "images.json").read_text()
    kept = json.loads(text)

    def hashes(split: str) -> list[str]:
        rows = dataset.split(split)["file"]
        return sorted(hashlib.sha256((dataset.root / file).read_bytes()).hexdigest() for file in rows)

    assert (kept["train"]["files"], kept["val"]["files"]) == (hashes("train"), hashes("val"))
    assert kept["train"]["pixels"] == sorted(kept["train"]["pixels"])
    assert len(kept["train"]["pixels"]) == 57
    assert not set(hashes("test")) & {*kept["train"]["files"], *kept["val"]["files"]}
    assert "image0" not in text


def test_damaged_hashes_are_one_line(lmd: Command, run: Path, tmp_path: Path) -> None:
    (run / "model" / "images.json").write_text('{"train": {}}')
    data = external(tmp_path / "new").folder
    refused(lmd("evaluate", run, "--data", data), "model/images.json", "its checksum does not fit")


# Overlap.


def test_the_same_folder_divided_by_another_seed(lmd: Command, tmp_path: Path) -> None:
    """The fault that was found: test images that had been trained on, and nothing was said."""
    for number in range(105):
        place = tmp_path / "raw" / toy.CLASSES[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        new_image(number, place / f"{number}.png")
    for name, seed in (("first", 42), ("second", 7)):
        lmd("prepare", "folder", "--root", tmp_path / "raw", "--out", tmp_path / name, "--seed", seed)
    first, second = read_dataset(tmp_path / "first"), read_dataset(tmp_path / "second")
    settings = ["encoder=test_resnet", "pretrained=false", "size=16", "batch=16", "stage1.epochs=1"]
    words = [word for setting in settings for word in ("--set", setting)]
    lmd("train", first.folder, "--method", "ce", "--out", tmp_path / "run", *words)
    before = files(tmp_path / "run")
    tested = second.split("test")["id"]
    images, validation = (int(tested.isin(first.split(split)["id"]).sum()) for split in ("train", "val"))
    assert images > 10
    assert validation > 0
    result = lmd("evaluate", tmp_path / "run", "--data", second.folder)
    told = f"{images} of 21 images were trained on, {validation} more are validation images"
    refused(result, "split 'test'", str(second.folder), told, "first: ", "--allow-overlap")
    assert files(tmp_path / "run") == before
    code, out, _ = lmd("evaluate", tmp_path / "run", "--data", second.folder, "--allow-overlap")
    assert code == 0
    assert f"OVERLAP: {told}" in out
    found = saved(tmp_path / "run")["overlap"]
    assert (found["images"], found["validation"], found["of"]) == (images, validation, 21)
    for page in ("report.html", "MODEL_CARD.md"):
        assert f"OVERLAP: {told}" in (tmp_path / "run" / page).read_text()


def copies(dataset: Dataset, save: Callable[[Path, Path], object]) -> Draw:
    """Draws five training images and two validation images again; all others are new."""
    paths = [dataset.root / file for split in ("train", "val") for file in dataset.split(split)["file"]]
    chosen = paths[:5] + paths[-2:]

    def draw(number: int, path: Path) -> None:
        if number < len(chosen):
            save(chosen[number], path)
        else:
            new_image(number, path)

    return draw


def as_bmp(source: Path, target: Path) -> None:
    """Other bytes, the same pixels; the name does not say the format."""
    Image.open(source).save(target, format="BMP")


def with_a_note(source: Path, target: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    note = PngInfo()
    note.add_text("Comment", "another file now")
    Image.open(source).save(target, pnginfo=note)


@pytest.mark.parametrize("save", [shutil.copy, as_bmp, with_a_note])
def test_copies_are_found_whatever_their_name_and_format(
    trained: tuple[Path, Dataset], run: Path, tmp_path: Path, save: Callable[[Path, Path], object]
) -> None:
    data = external(tmp_path / "new", copies(trained[1], save))
    with pytest.raises(
        lmd.DataError, match=r"5 of 12 images were trained on, 2 more .* \(first: new00\.png\)"
    ):
        lmd.evaluate(run, data=data)
    found = overlap(run, data, allow=True)
    assert (found.images, found.validation, found.of, found.groups) == (5, 2, 12, None)


def test_new_images_are_no_overlap_and_that_is_recorded(run: Path, tmp_path: Path) -> None:
    found = overlap(run, external(tmp_path / "new"))
    assert (found.images, found.validation, found.of, found.groups) == (0, 0, 12, None)
    assert found.note == (
        "none of the 12 images is identical to a training or validation image (copies that were resized, or "
        "saved again with loss, are not recognised)"
    )
    assert saved(run)["data"]["title"] == "cases"


def test_whichever_split_is_measured_is_compared(
    trained: tuple[Path, Dataset], run: Path, tmp_path: Path
) -> None:
    data = external(tmp_path / "new", copies(trained[1], shutil.copy), split="val")
    with pytest.raises(lmd.DataError, match=r"split 'val' .* 5 of 12 images"):
        lmd.evaluate(run, "val", data=data)
    with pytest.raises(lmd.DataError, match=r"split 'test' of .* has no images"):
        lmd.evaluate(run, data=data)


def test_validation_images_alone_are_refused_too(
    trained: tuple[Path, Dataset], run: Path, tmp_path: Path
) -> None:
    paths = [trained[1].root / file for file in trained[1].split("val")["file"]]
    data = external(tmp_path / "new", lambda number, path: shutil.copy(paths[number], path), count=3)
    with pytest.raises(lmd.DataError, match="3 of 3 images are validation images"):
        lmd.evaluate(run, data=data)


def test_the_run_s_own_splits_can_be_measured(
    trained: tuple[Path, Dataset], run: Path, tmp_path: Path
) -> None:
    for split in ("train", "val"):
        assert lmd.evaluate(run, split).overlap is None
        assert "overlap" not in saved(run, split, "")
    assert (overlap(run, None).images, overlap(run, None).of) == (0, 15)
    moved = Path(shutil.copytree(trained[1].folder, tmp_path / "moved"))
    assert overlap(run, read_dataset(moved)).images == 0
    assert "data" not in saved(run, on="")


def test_copies_within_the_run_s_own_data_set_are_counted_and_not_refused(
    lmd: Command, tmp_path: Path
) -> None:
    dataset = toy.make_dataset(tmp_path)
    train, val, test = (
        dataset.root / dataset.split(split)["file"].iloc[0] for split in ("train", "val", "test")
    )
    shutil.copy(train, val)
    shutil.copy(train, test)  # In all three: it counts as a training image, and once.
    words = [f"--set={name}={value}" for name, value in toy.COMMON.items() if name != "stage1"]
    lmd("train", dataset.folder, "--method", "ce", "--out", tmp_path / "run", *words, "--set=stage1.epochs=1")
    code, out, _ = lmd("evaluate", tmp_path / "run")
    assert code == 0
    assert "OVERLAP: 1 of 15 images was trained on" in out
    found = saved(tmp_path / "run", on="")["overlap"]
    assert (found["images"], found["validation"]) == (1, 0)


def without_hashes(run: Path) -> Path:
    (run / "model" / "images.json").unlink()
    return run


def test_a_run_of_an_earlier_version_is_compared_with_its_training_folder(
    trained: tuple[Path, Dataset], run: Path, tmp_path: Path
) -> None:
    data = external(tmp_path / "new", copies(trained[1], shutil.copy))
    with pytest.raises(lmd.DataError, match="5 of 12 images were trained on, 2 more"):
        lmd.evaluate(without_hashes(run), data=data)
    assert overlap(run, None).images == 0


def elsewhere(run: Path) -> Path:
    """The run as on another machine: its training folder is not there."""
    text = (run / "settings.yaml").read_text().splitlines()
    moved = ["data: /nowhere/data" if line.startswith("data:") else line for line in text]
    (run / "settings.yaml").write_text("\n".join(moved) + "\n")
    return run


def test_what_is_not_known_is_said(
    lmd: Command, trained: tuple[Path, Dataset], run: Path, tmp_path: Path
) -> None:
    data = external(tmp_path / "new", copies(trained[1], shutil.copy)).folder
    elsewhere(run)
    refused(lmd("evaluate", run, "--data", data), "5 of 12 images were trained on")
    code, out, _ = lmd("evaluate", without_hashes(run), "--data", data)
    assert code == 0
    assert "this run keeps no image hashes" in out
    found = saved(run)["overlap"]
    assert (found["images"], found["validation"], found["of"]) == (None, None, 12)
    assert "this run keeps no image hashes" in (run / "MODEL_CARD.md").read_text()


# Patients.


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on images of patients: Ann Smith in training, Bob in validation, Cyd in the test."""
    place = tmp_path_factory.mktemp("patients")
    dataset = toy.make_dataset(place)
    table = dataset.table
    for split, name in (("train", "Ann Smith"), ("val", "Bob"), ("test", "Cyd")):
        table.loc[table.index[table["split"] == split][:2], "group"] = name
    grouped = write_dataset(place / "grouped", table, dataset.info)
    lmd.train(grouped, method="ce", settings=SETTINGS, out=place / "run")
    return place / "run"


def of_patients(folder: Path, *names: str) -> Dataset:
    """New images of these patients, one each."""
    return external(folder, count=len(names), patient=list(names))


def test_patients_of_the_training_are_counted_and_not_named(
    lmd: Command, patients: Path, tmp_path: Path
) -> None:
    data = of_patients(tmp_path / "new", "Ann Smith", "Ann Smith", "Bob", "Cyd", "Dan").folder
    code, _, err = result = lmd("evaluate", patients, "--data", data)
    refused(result, "2 groups (patients, lesions) are also in training or validation")
    assert not any(name in err for name in ("Ann", "Bob", "trained on"))
    code, out, _ = lmd("evaluate", patients, "--data", data, "--allow-overlap")
    assert code == 0
    assert "OVERLAP: 2 groups" in out
    found = saved(patients)["overlap"]
    assert (found["images"], found["groups"]) == (0, 2)
    assert "Ann" not in json.dumps(saved(patients))


def test_other_patients_and_images_by_themselves_are_no_overlap(
    lmd: Command, patients: Path, tmp_path: Path
) -> None:
    assert overlap(patients, of_patients(tmp_path / "new", "Cyd", "Dan", "Eve")).groups == 0
    same_names = external(tmp_path / "same", image=[f"image{n:03d}.png" for n in range(12)], draw=renamed)
    assert overlap(patients, same_names).groups is None


def renamed(number: int, path: Path) -> None:
    """An image under the name that a training image has."""
    new_image(number, path.with_name(f"image{number:03d}.png"))


def test_without_the_training_folder_patients_cannot_be_compared(patients: Path, tmp_path: Path) -> None:
    run = elsewhere(Path(shutil.copytree(patients, tmp_path / "run")))
    found = overlap(run, of_patients(tmp_path / "new", "Ann Smith", "Ann Smith", "Dan"))
    assert (found.images, found.groups) == (0, None)
    assert "groups (patients, lesions) were not compared" in found.note


# Classes.


def by_hand(run: Path, data: Dataset) -> dict[str, float]:
    """The recall of each class of a data set, from the answers to its files."""
    answers = lmd.load(run).predict([data.root / file for file in data.table["file"]])
    right = (answers["predicted"] == data.table["label"]).groupby(data.table["label"]).mean()
    return {str(name): float(value) for name, value in right.items()}


def recalls(result: Evaluation) -> dict[str, float | None]:
    return {entry.name: entry.recall.value for entry in result.classes}


def test_a_set_that_lacks_a_class_is_measured_on_the_rest(run: Path, tmp_path: Path) -> None:
    labels = ["rare" if number % 3 else "common" for number in range(12)]
    data = external(tmp_path / "new", label=labels)
    assert (data.classes, data.info.bands) == (["common", "rare"], {})
    assert "no image is for training" in data.info.bands_rule
    result = lmd.evaluate(run, data=data)
    expected = by_hand(run, data)
    assert recalls(result) == pytest.approx({**expected, "less": None})
    assert result.metrics["bacc"].value == pytest.approx((expected["common"] + expected["rare"]) / 2)
    assert result.metrics["auc"].value is not None
    assert [entry.n for entry in result.classes] == [4, 0, 8]
    assert np.array(result.confusion).sum(1).tolist() == [4, 0, 8]
    assert {band: entry.n for band, entry in result.bands.items()} == {"head": 4, "medium": 0, "tail": 8}
    assert result.bands["medium"].recall.value is None
    assert "no image of this class" in result.reasons["less"]
    assert "no class of this band" in result.reasons["medium"]
    folder, on = RunFolder(run), data.info.manifest_sha256
    assert read_evaluation(folder.evaluation("test", on)) == result
    columns = pd.read_csv(folder.predictions("test", on)).columns.tolist()
    assert columns[-4:] == ["p_common", "p_less", "p_rare", "unlike"]


def test_other_data_do_not_replace_the_results_of_the_runs_own(run: Path, tmp_path: Path) -> None:
    own = lmd.evaluate(run)
    names = ("evaluation-test.json", "predictions-test.csv", "predictions-val.csv")
    before = [(run / name).read_bytes() for name in names]
    for split in ("test", "val"):
        lmd.evaluate(run, split, data=external(tmp_path / split, split=split))
    assert [(run / name).read_bytes() for name in names] == before
    assert not (run / "evaluation-val.json").exists()
    card, page = (run / "MODEL_CARD.md").read_text(), (run / "report.html").read_text()
    shown = ["test split", "test of cases split", "val of cases split"]
    assert [line for line in card.splitlines() if line.startswith("## Measured")] == [
        f"## Measured on the {name}" for name in shown
    ]
    assert f"{own.n} images of the test split" in page
    assert "Split test of cases: 12 images" in page
    assert "Split val of cases: 12 images" in page


def test_absent_classes_are_marked_wherever_the_result_is_shown(
    lmd: Command, run: Path, tmp_path: Path
) -> None:
    data = external(tmp_path / "new", label=["rare" if number % 3 else "common" for number in range(12)])
    code, out, _ = lmd("evaluate", run, "--data", data.folder)
    assert code == 0
    words = "no image of 1 of the model's 3 classes (less): every mean is over the 2 classes with images"
    assert words in out
    assert [line.split() for line in out.splitlines() if line.startswith("medium ")] == [
        ["medium", "recall", "0", "no", "image"]
    ]
    card, page = (run / "MODEL_CARD.md").read_text(), (run / "report.html").read_text()
    assert words in card
    assert "| recall of less | 0 | no image |" in card
    row = r"<td>less</td><td[^>]*>0</td><td>medium</td><td>no image</td>"
    assert re.search(row, page)
    assert "Not measured, for there is no image of it here: less." in page
    assert "every mean is over the 2 classes with images" in page


def test_the_order_of_the_classes_does_not_matter(run: Path, tmp_path: Path) -> None:
    data = external(tmp_path / "new")
    first = lmd.evaluate(run, data=data)
    info = data.info.model_copy(update={"classes": data.classes[::-1]})
    turned = lmd.evaluate(run, data=write_dataset(tmp_path / "turned", data.table, info))
    assert turned.classes == first.classes
    assert turned.metrics == first.metrics
    assert recalls(first) == pytest.approx(by_hand(run, data))


def test_a_set_of_one_class(lmd: Command, run: Path, tmp_path: Path) -> None:
    data = external(tmp_path / "new", label=["rare"] * 12)
    code, out, _ = lmd("evaluate", run, "--data", data.folder)
    assert code == 0
    assert "every mean is over the 1 class with images" in out
    found = saved(run)
    recall = by_hand(run, data)["rare"]
    assert found["metrics"]["bacc"]["value"] == found["classes"][2]["recall"] == pytest.approx(recall)
    for name in ("auc", "kappa_quadratic", "kappa_unweighted"):
        assert found["metrics"][name]["value"] is None
        assert "one class only" in found["reasons"][name]
    assert "one class only" in found["reasons"]["precision"]


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("raer", ["class 'raer'", "does not know", "did you mean 'rare'?", "label column"]),
        ("Rare", ["'Rare'", "'rare'", "differ only by case or spacing"]),
        ("zebra", ["class 'zebra'", "known: common, less, rare"]),
    ],
)
def test_a_class_that_the_model_does_not_know(
    lmd: Command, run: Path, tmp_path: Path, label: str, words: list[str]
) -> None:
    before = files(run)
    data = external(tmp_path / "new", label=[label] * 6 + ["common"] * 6)
    refused(lmd("evaluate", run, "--data", data.folder), *words)
    assert files(run) == before


# A set without training images.


def test_a_set_for_testing_alone_is_prepared_inspected_and_not_trained_on(
    lmd: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = external(tmp_path / "new").folder
    table = ["--table", tmp_path / "new" / "cases.csv", "--root", tmp_path / "new" / "images"]
    caplog.clear()
    code, out, _ = lmd("prepare", "table", *table, "--out", tmp_path / "again")
    assert code == 0
    assert "train 0, val 0, test 12" in out
    assert "no training images: the set is for 'lmd evaluate RUN --data' alone" in caplog.messages
    code, out, _ = lmd("inspect", data, "--strict")
    assert code == 0
    assert "no training images: a set for testing alone" in out
    assert "nothing else was found" in out
    assert "no training images" in (data / "inspect.html").read_text()
    refused(
        lmd("train", data, "--out", tmp_path / "run"),
        "no training image",
        "--fractions",
        "evaluate RUN --data",
    )
    words = ["--data", data, "--out", tmp_path / "run", "--budget", "smoke", "--set", "pretrained=false"]
    refused(lmd("reproduce", "table1", *words), "table1 trains its runs", "no training image")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("fractions", ["0,0,1", "0,1,0", "0,.5,.5", "1,0,0"])
@pytest.mark.parametrize("split", ["image", "group"])
def test_every_share_may_be_nothing(tmp_path: Path, fractions: str, split: str) -> None:
    external(tmp_path / "new")
    table = pd.read_csv(tmp_path / "new" / "cases.csv").drop(columns="split")
    table.assign(patient=[f"p{row}" for row in range(len(table))]).to_csv(tmp_path / "plain.csv", index=False)
    data = lmd.prepare(
        "table", tmp_path / "out", table=tmp_path / "plain.csv", root=tmp_path / "new" / "images",
        fractions=fractions, split=split,
    )  # fmt: skip
    shares = [len(data.split(name)) / 12 for name in ("train", "val", "test")]
    assert shares == [float(word) for word in fractions.split(",")]


def test_a_folder_of_test_images_alone_with_one_class(lmd: Command, run: Path, tmp_path: Path) -> None:
    place = tmp_path / "raw" / "test" / "rare"
    place.mkdir(parents=True)
    for number in range(4):
        new_image(number, place / f"{number}.png")
    code, _, _ = lmd("prepare", "folder", "--root", tmp_path / "raw", "--out", tmp_path / "d")
    assert code == 0
    code, _, _ = lmd("inspect", tmp_path / "d", "--strict")
    assert code == 0
    code, _, _ = lmd("evaluate", run, "--data", tmp_path / "d")
    assert code == 0
    assert saved(run)["n"] == 4
