"""model.json: every field of it is checked, and it knows the files beside it."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

import lmd
from lmd.errors import CheckpointError
from lmd.run import RunFolder, read_model_card
from lmd.seals import sealed_json
from tests import toy
from tests.command import Command, refused


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("trained")
    settings = {**toy.LMD, "stage1": {"epochs": 1}, "iterations": 0, "tau": 0.0, "calibration": "none"}
    lmd.train(toy.make_dataset(place), method="lmd", settings=settings, out=place / "run")
    return place / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def changed(run: Path, changes: dict[str, Any]) -> None:
    """Rewrites model.json with a checksum that fits."""
    path = run / "model" / "model.json"
    tree = json.loads(path.read_text())
    del tree["sha256"]
    path.write_text(sealed_json({**tree, **changes}))


SCALE = {"size": 16, "crop": "none", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "bits": None}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": ["common", "common", "rare"]}, "classes: 'common' is there twice"),
        ({"classes": ["common", "", "rare"]}, "classes.1"),
        ({"classes": ["common", "less"]}, "training_counts must have 2 numbers"),
        ({"training_counts": [40, -1, 5]}, "training_counts.1: must be at least 0"),
        ({"training_counts": [40, 12]}, "training_counts must have 3 numbers"),
        ({"bands": {"head": ["unheard of"]}}, "bands: 'head' has 'unheard of'"),
        ({"precision": "fp8"}, "precision: must be one of 'fp32' or 'bf16'"),
        ({"classifier": "square"}, "classifier: must be one of"),
        ({"selected_by": "luck"}, "selected_by: must be one of"),
        ({"encoder": ""}, "encoder"),
        ({"training_seconds": -1}, "training_seconds: must be at least 0"),
        ({"format": 4}, "format: must be at most 3"),
        ({"outputs": {"tau": -0.1}}, "outputs.tau: must be at least 0"),
        ({"outputs": {"temperature": 0}}, "outputs.temperature: must be more than 0"),
        ({"outputs": {"prior": "flat"}}, "outputs.prior: must be one of 'training', 'uniform' or 'unknown'"),
        (
            {"preprocessing": {**SCALE, "crop": "zzz"}},
            "preprocessing.crop: must be one of 'none' or 'center'",
        ),
        ({"preprocessing": {**SCALE, "size": 0}}, "preprocessing.size: must be at least 8"),
        ({"preprocessing": {**SCALE, "std": [0.5, 0, 0.5]}}, "preprocessing.std.1: must be more than 0"),
        ({"preprocessing": {**SCALE, "mean": [0.5, 0.5]}}, "preprocessing.mean"),
        ({"preprocessing": {**SCALE, "bits": 3}}, "preprocessing.bits"),
        ({"files": {"../../x": "0" * 64}}, "files"),
        ({"files": {"model.safetensors": "0"}}, "files"),
    ],
)
def test_a_field_that_cannot_be_is_one_line(
    changes: dict[str, Any], words: str, run: Path, lmd: Command
) -> None:
    changed(run, changes)
    refused(lmd("evaluate", run), "model.json is damaged", words)


def test_a_card_of_an_earlier_version_is_checked_as_well(run: Path, lmd: Command) -> None:
    toy.as_earlier(run, preprocessing={**SCALE, "crop": "zzz"})
    refused(lmd("evaluate", run), "model.json is damaged", "preprocessing.crop: must be one of")


def test_a_card_of_an_earlier_version_shifts_nothing(run: Path) -> None:
    toy.as_earlier(run)
    card = read_model_card(RunFolder(run))
    assert card.format == 1
    assert card.outputs.model_dump() == {
        "tau": 0.0, "tau_by": "settings", "tau_validation": None, "temperature": 1.0, "temperature_by": "none", "prior": "unknown"
    }  # fmt: skip
    assert not card.outputs.differ


def test_an_encoder_that_timm_does_not_know_is_one_line(run: Path, lmd: Command) -> None:
    changed(run, {"encoder": "resnet18x"})
    refused(lmd("evaluate", run), "resnet18x")


def test_reversed_classes_are_noticed_by_the_checksum(run: Path, lmd: Command) -> None:
    path = run / "model" / "model.json"
    tree = json.loads(path.read_text())
    text = path.read_text().replace('"common"', '"x"').replace('"rare"', '"common"').replace('"x"', '"rare"')
    path.write_text(text)
    assert json.loads(text)["classes"] == tree["classes"][::-1]
    refused(lmd("evaluate", run), "model.json is damaged: its checksum does not fit")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "stage1.safetensors", "gaussians.safetensors", "images.json"]
)
def test_one_bit_of_a_file_beside_it_is_noticed(name: str, run: Path, lmd: Command) -> None:
    path = run / "model" / name
    content = bytearray(path.read_bytes())
    content[-9] ^= 4
    path.write_bytes(content)
    refused(lmd("evaluate", run), f"cannot read {path}", "its checksum does not fit")
    refused(lmd("predict", run, path), "cannot read", name)


def test_what_a_copy_leaves_out_is_not_missed_but_for_the_weights(run: Path, lmd: Command) -> None:
    for name in ("stage1.safetensors", "gaussians.safetensors"):
        (run / "model" / name).unlink()
    assert lmd("evaluate", run)[0] == 0
    (run / "model" / "model.safetensors").unlink()
    refused(lmd("evaluate", run), "no weights file", "model.safetensors")


def test_a_model_of_an_earlier_version_is_said_once_to_have_no_checksums(
    run: Path, lmd: Command, caplog: pytest.LogCaptureFixture
) -> None:
    expected = lmd("evaluate", run)[1]
    assert caplog.text == ""
    toy.as_earlier(run)
    code, out, _ = lmd("evaluate", run)
    assert (code, out) == (0, expected)
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in told] == [
        f"{run}/model/model.json is of an earlier version: it has no checksums that would show damage"
    ]


def test_a_card_whose_checksum_was_taken_out_is_refused(run: Path) -> None:
    path = run / "model" / "model.json"
    tree = json.loads(path.read_text())
    del tree["sha256"]
    path.write_text(json.dumps(tree))
    with pytest.raises(CheckpointError, match=r"model\.json is damaged: it does not begin as lmd"):
        read_model_card(RunFolder(run))
