"""What is used again: runs of the same identity, and tests that belong to their model and images."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.errors import CheckpointError
from lmd.experiments.engine import plan, reproduce
from lmd.experiments.request import Request
from lmd.locks import locked
from tests import toy
from tests.command import Command, refused
from tests.experiments.phantoms import COMMON, words_for


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, and CE and cRT trained on it."""
    root = tmp_path_factory.mktemp("reuse")
    reproduce(request(root, toy.make_dataset(root)))
    return root


def request(root: Path, dataset: Dataset) -> Request:
    return Request(
        "table1", [str(dataset.folder)], root / "out", 1, "ce,decoupling", "smoke", overrides=COMMON
    )


@pytest.fixture
def again(done: Path, tmp_path: Path) -> Request:
    """The same, copied, so that a test may change it."""
    shutil.copytree(done, tmp_path / "all")
    info = tmp_path / "all/data/dataset.json"
    info.write_text(info.read_text().replace(str(done), str(tmp_path / "all")))
    return request(tmp_path / "all", read_dataset(tmp_path / "all/data"))


def folder(request: Request, row: str = "ce") -> Path:
    return request.out / "runs/data" / row / "seed-42"


def told(request: Request) -> dict[str, str]:
    lines = [line.partition(": ") for line in plan(request) if line.startswith("data/")]
    return {name: standing for name, _, standing in lines}


def repaint(request: Request, split: str) -> None:
    """Gives one image of a split other pixels under the same name."""
    dataset = read_dataset(Path(request.data[0]))
    file = dataset.root / dataset.split(split)["file"].iloc[0]
    Image.fromarray(np.full((20, 20, 3), 7, np.uint8)).save(file)


def test_what_is_equal_is_used_again(again: Request) -> None:
    assert set(told(again).values()) == {"finished"}


@pytest.mark.parametrize("split", ["train", "val"])
def test_changed_images_under_the_same_manifest_are_noticed(split: str, again: Request, lmd: Command) -> None:
    repaint(again, split)
    refused(
        lmd(*words_for(again)),
        "ce/seed-42 is not a run of this experiment",
        "other image files",
        "manifest is the same",
    )
    refused(lmd(*words_for(again), "--dry-run"), "other image files")


def test_changed_test_images_are_tested_anew(again: Request) -> None:
    """Their models never saw them: the trainings stand, the answers do not."""
    repaint(again, "test")
    before = (folder(again) / "predictions-test.csv").read_text()
    weights = (folder(again) / "model/model.safetensors").stat().st_mtime_ns
    assert set(told(again).values()) == {"trained, to be tested"}
    reproduce(again)
    assert (folder(again) / "predictions-test.csv").read_text() != before
    assert (folder(again) / "model/model.safetensors").stat().st_mtime_ns == weights
    assert set(told(again).values()) == {"finished"}


@pytest.mark.parametrize("file", ["predictions-test.csv", "evaluation-test.json", "tested.json"])
def test_a_test_that_was_changed_or_has_no_record_is_made_again(file: str, again: Request) -> None:
    path = folder(again) / file
    before = path.read_text()
    if file == "tested.json":
        path.unlink()
    else:
        path.write_text(before.replace("0.", "1.", 1))
    assert told(again)["data/ce/seed-42"] == "trained, to be tested"
    assert told(again)["data/decoupling/seed-42"] == "finished"
    reproduce(again)
    assert path.read_text() == before


def test_answers_of_another_model_are_made_again_also_in_rows_that_were_not_asked_for(again: Request) -> None:
    """A model that was put in the place of the run's own is not judged by the answers of the old one."""
    for name in ("predictions-test.csv", "evaluation-test.json"):
        shutil.copy(folder(again, "decoupling") / name, folder(again, "ce") / name)
    lines = plan(replace(again, methods="decoupling"))
    assert "data/ce/seed-42: trained, to be tested" in lines
    outcome = reproduce(replace(again, methods="decoupling"))
    rows = {
        row["key"]: row["cells"]["recall"]["ours"]["value"]
        for row in outcome.content["blocks"][0]["rows"][:6]
        if row["seeds"]
    }
    for row, value in rows.items():
        found = json.loads((folder(again, row) / "evaluation-test.json").read_text())
        assert value == pytest.approx(100 * found["metrics"]["recall"]["value"], abs=1e-4)
    assert set(rows) == {"ce", "decoupling"}


def test_a_run_of_other_settings_is_refused_by_the_setting(again: Request) -> None:
    file = folder(again) / "settings.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "batch": 99}, sort_keys=False))
    with pytest.raises(CheckpointError, match=r"not a run of this experiment: .*batch was 99, now 16"):
        plan(again)


def test_a_run_of_something_else_without_a_finished_epoch_begins_anew(again: Request) -> None:
    """It was killed before it had done anything: nothing is lost."""
    file = folder(again) / "settings.yaml"
    other = yaml.safe_dump({**yaml.safe_load(file.read_text()), "batch": 99}, sort_keys=False)
    shutil.rmtree(folder(again))
    folder(again).mkdir()
    file.write_text(other)
    reproduce(again)
    assert yaml.safe_load(file.read_text())["batch"] == 16
    assert set(told(again).values()) == {"finished"}


def test_a_run_that_another_process_has_begun_is_left_alone(again: Request) -> None:
    shutil.rmtree(folder(again) / "model")
    settings = folder(again) / "settings.yaml"
    settings.write_text(settings.read_text().replace("seed: 42", "seed: 43"))  # Of something else, that is.
    with locked(folder(again)), pytest.raises(CheckpointError, match="is being written by process"):
        reproduce(again)
    assert settings.is_file()
