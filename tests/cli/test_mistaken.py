"""A folder in the place of another, a run that is not there yet: the line names what it is, and the way."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from PIL import Image

from lmd.data.dataset.manifest import Dataset
from lmd.errors import CheckpointError, DataError
from lmd.folds.folder import FoldsRun, FoldsRunInfo, cards
from lmd.locks import holder, locked
from lmd.models.packages import weights_path
from lmd.run_folder import FITTED, FOLDS_RUN
from tests import toy
from tests.command import Command, refused

# Each verb that takes a run, with what else it needs.
OF_A_RUN = {
    "evaluate": [],
    "report": [],
    "predict": ["image.png"],
    "export": ["--out", "EXPORT"],
    "serve": [],
    "compare": ["OTHER"],
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The folder of a training that has written its settings, and no model."""
    folder = tmp_path / "begun"
    folder.mkdir()
    (folder / "settings.yaml").write_text("method: ce\n")
    return folder


@pytest.mark.parametrize("verb", OF_A_RUN)
def test_a_data_set_in_the_place_of_a_run_is_called_one(lmd: Command, dataset: Dataset, verb: str) -> None:
    way = f"'lmd train {dataset.folder} --out RUN' makes"
    refused(lmd(verb, dataset.folder, *OF_A_RUN[verb]), "it is a dataset folder", way)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("folds.json", "it is a folder of folds"),
        ("features.json", "it is a features folder, and a run folder is asked for here, which 'lmd fit "),
        ("a.png", "it is no run folder, which 'lmd train' makes"),
    ],
)
def test_any_other_folder_is_called_what_it_is(lmd: Command, tmp_path: Path, file: str, words: str) -> None:
    (tmp_path / file).touch()
    refused(lmd("evaluate", tmp_path), words)


@pytest.mark.parametrize("name", ["photos", "my photos"])
def test_a_folder_of_images_in_the_place_of_a_data_set_is_told_the_way(
    lmd: Command, tmp_path: Path, name: str
) -> None:
    photos = tmp_path / name
    photos.mkdir()
    Image.new("RGB", (8, 8)).save(photos / "a.png")
    way = f"'lmd prepare folder --root {shlex.quote(str(photos))} --out DATA'"
    refused(
        lmd("train", photos, "--out", tmp_path / "run"), "not a dataset folder: it has no dataset.json", way
    )


def test_a_table_and_features_in_the_place_of_a_data_set_are_told_the_way(
    lmd: Command, tmp_path: Path
) -> None:
    table = tmp_path / "cases.csv"
    table.touch()
    refused(lmd("inspect", table), f"'lmd prepare table --table {table} --out DATA'")
    (tmp_path / "features.json").touch()
    refused(
        lmd("inspect", tmp_path), "is a features folder of 'lmd embed', and a dataset folder is asked for"
    )


@pytest.mark.parametrize("verb", OF_A_RUN)
def test_a_run_that_is_still_being_trained_is_said_to_be(lmd: Command, begun: Path, verb: str) -> None:
    with locked(begun):
        result = lmd(verb, begun, *OF_A_RUN[verb])
        refused(result, "it is still being trained, by process ", "wait until that has ended")
        assert "--resume" not in result[2]
    refused(lmd(verb, begun, *OF_A_RUN[verb]), "it has not finished; go on with --resume")


def test_weights_of_a_run_that_is_still_being_trained_are_refused(begun: Path) -> None:
    with locked(begun), pytest.raises(CheckpointError, match="still being trained"):
        weights_path(str(begun))


def test_folds_that_are_still_being_trained_are_said_to_be(begun: Path) -> None:
    fold = begun.rename(begun.parent / "fold-1")
    info = FoldsRunInfo(title="t", method="ce", data="d", manifests_sha256={"fold-1": "0"}, settings={})
    run = FoldsRun(begun.parent, info)
    with locked(fold), pytest.raises(CheckpointError, match=r"not finished: process .* trains them: wait"):
        cards(run)
    with pytest.raises(CheckpointError, match="go on with 'lmd train d "):
        cards(run)


def test_nobody_holds_a_folder_that_is_free(begun: Path) -> None:
    assert holder(begun) is None
    with locked(begun):
        assert str(holder(begun)).startswith("process ")


# Folders that are in use.


@pytest.mark.parametrize("file", ["settings.yaml", FOLDS_RUN])
def test_a_training_is_offered_to_go_on(lmd: Command, dataset: Dataset, tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text("method: ce\n")
    refused(
        lmd("train", dataset.folder, "--out", tmp_path),
        "is not empty; choose another, or go on with --resume",
    )


@pytest.mark.parametrize(("file", "text"), [("notes.txt", ""), ("settings.yaml", f"method: {FITTED}\n")])
def test_what_no_training_has_begun_is_not_gone_on_with(
    lmd: Command, dataset: Dataset, tmp_path: Path, file: str, text: str
) -> None:
    (tmp_path / file).write_text(text)
    result = lmd("train", dataset.folder, "--out", tmp_path)
    refused(result, "is not empty; choose another")
    assert "--resume" not in result[2]


def test_a_fit_has_nothing_to_go_on_with(lmd: Command, begun: Path, tmp_path: Path) -> None:
    result = lmd("fit", tmp_path / "features", "--out", begun)
    refused(result, "is not empty; choose another")
    assert "--resume" not in result[2]
    (begun / "settings.yaml").write_text(f"method: {FITTED}\n")
    refused(lmd("evaluate", begun), "it has not finished; fit it anew into another folder")


# Images.


def test_a_pattern_that_no_file_fits_is_told_of_folders(tmp_path: Path) -> None:
    from lmd.data.asked import refuse_missing

    with pytest.raises(
        DataError, match=r"/\*\.jpg: no file fits this pattern, or it stood in quotes; a folder can"
    ):
        refuse_missing([tmp_path / "*.jpg"])
    with pytest.raises(DataError, match=r"in quotes$"):
        refuse_missing([tmp_path / "none" / "*.jpg"])
    with pytest.raises(DataError, match=r"no image .*/a\.jpg$"):
        refuse_missing([tmp_path / "a.jpg"])


def test_the_first_example_of_a_training_is_the_usual_one(lmd: Command) -> None:
    examples = lmd("train", "--help")[1].partition("Examples:")[2].split("\n")
    assert examples[1].strip() == "lmd train DATA --method lmd --out RUN"
