"""What a user can get wrong with features: one line, exit code 2, nothing written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lmd.embedding.folder import refuse_not_finite
from lmd.errors import DataError
from tests import toy
from tests.command import Command, refused
from tests.embedding.conftest import Made


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.features.folder, tmp_path / "features"))


def embed(lmd: Command, data: Path, out: Path, *words: object) -> tuple[int, str, str]:
    return lmd("embed", data, "--out", out, *words)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--encoder", "resnt18", "--weights", "w"], ["resnt18", "did you mean"]),
        (["--encoder", "test_resnet", "--weights", "{weights}", "--size", 4], ["--size 4", "from 8 to 2048"]),
        (["--encoder", "resnet18", "--weights", "{weights}", "--size", 16], ["another architecture"]),
        (["--encoder", "test_resnet", "--weights", "{manifest}", "--size", 16], ["manifest.csv"]),
        (["--encoder", "test_resnet", "--weights", "{missing}"], ["missing"]),
        (
            ["--encoder", "test_resnet", "--crop", "centre"],
            ["unknown crop 'centre'", "did you mean 'center'"],
        ),
        (
            ["--run", "{run}", "--encoder", "test_resnet"],
            ["encoder = test_resnet", "leave one of the two out"],
        ),
        (["--run", "{missing}"], ["no such run"]),
        (["--run", "{features}"], ["it is a features folder"]),
    ],
)
def test_an_encoder_that_cannot_be_had_is_refused(
    lmd: Command, made: Made, tmp_path: Path, words: list[Any], told: list[str]
) -> None:
    places = {
        "weights": made.weights,
        "run": made.run.path,
        "features": made.features.folder,
        "manifest": made.dataset.folder / "manifest.csv",
        "missing": tmp_path / "missing",
    }
    typed = [str(word).format(**places) for word in words]
    refused(embed(lmd, made.dataset.folder, tmp_path / "out", *typed), *told)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_hub")
def test_a_failed_download_names_the_options_of_this_verb(lmd: Command, made: Made, tmp_path: Path) -> None:
    result = embed(lmd, made.dataset.folder, tmp_path / "out", "--size", 16)
    way = "--weights package:efficientnet-lite0 --encoder tf_efficientnet_lite0"
    refused(result, "cannot download the weights of 'resnet18' (TimeoutError)", way, "--run RUN")
    assert "--set" not in result[2]


def test_data_that_cannot_be_embedded_are_refused(lmd: Command, made: Made, tmp_path: Path) -> None:
    choice = ("--encoder", "test_resnet", "--weights", made.weights, "--size", 16)
    refused(embed(lmd, tmp_path / "no", tmp_path / "out", *choice), "no dataset folder")
    refused(embed(lmd, made.dataset.folder, made.features.folder, *choice), "is not empty")
    folds = tmp_path / "folds"
    folds.mkdir()
    (folds / "folds.json").write_text("{}")
    refused(embed(lmd, folds, tmp_path / "out", *choice), "has folds", "fold-1")


def test_weights_that_make_no_numbers_are_refused(lmd: Command, made: Made, tmp_path: Path) -> None:
    tensors = load_file(made.weights)
    large = {name: 1e30 * value if name.endswith("weight") else value for name, value in tensors.items()}
    save_file(large, tmp_path / "w.safetensors")
    choice = ("--encoder", "test_resnet", "--weights", tmp_path / "w.safetensors", "--size", 16)
    result = embed(lmd, made.dataset.folder, tmp_path / "out", *choice)
    refused(result, "are not finite", "image000", "take others")
    assert not (tmp_path / "out").exists()


def test_the_first_image_without_numbers_is_named() -> None:
    values = np.ones((3, 2))
    values[1, 0] = np.nan
    with pytest.raises(
        DataError, match=r"where: the features of 1 of 3 images are not finite \(first: 'b'\)"
    ):
        refuse_not_finite(values, np.array(["a", "b", "c"]), "where")


def test_a_folder_of_something_else_is_refused(lmd: Command, made: Made, tmp_path: Path) -> None:
    for folder, told in (
        (made.dataset.folder, "has no features.json"),
        (tmp_path / "missing", "is not there"),
        (made.weights, "is not there"),
    ):
        refused(lmd("fit", folder, "--out", tmp_path / "run"), "no features folder", told, "lmd embed")
    assert not (tmp_path / "run").exists()


def test_features_of_another_encoder_are_refused(lmd: Command, copy: Path, tmp_path: Path) -> None:
    save_file({"features": torch.zeros(87, 10)}, copy / "features.safetensors")
    refused(lmd("fit", copy, "--out", tmp_path / "run"), "features.safetensors", "checksum")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["features.json", "manifest.csv", "encoder.safetensors", "images.json"])
def test_a_changed_file_is_refused(lmd: Command, copy: Path, tmp_path: Path, name: str) -> None:
    changed = bytearray((copy / name).read_bytes())
    changed[-3] ^= 1
    (copy / name).write_bytes(changed)
    refused(lmd("fit", copy, "--out", tmp_path / "run"), name)
    (copy / name).unlink()
    refused(lmd("fit", copy, "--out", tmp_path / "run"), name)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("taau=1", ["taau", "did you mean 'tau'"]),
        ("tau=-1", ["tau = -1: must be a number from 0 on"]),
        ("tau=often", ["tau = 'often'"]),
        ("covariance=oass", ["covariance", "did you mean 'oas'"]),
        ("l2=x", ["l2 = 'x'", "must be a number"]),
    ],
)
def test_a_setting_that_is_none_is_refused(
    lmd: Command, made: Made, tmp_path: Path, setting: str, told: list[str]
) -> None:
    refused(lmd("fit", made.features.folder, "--set", setting, "--out", tmp_path / "run"), *told)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten(lmd: Command, made: Made) -> None:
    refused(lmd("fit", made.features.folder, "--out", made.run.path), "is not empty")


def test_a_data_set_for_testing_alone_can_be_embedded_and_not_fitted(
    lmd: Command, made: Made, tmp_path: Path
) -> None:
    data = toy.make_dataset(tmp_path, {"test": [3, 2, 1]})
    choice = ("--encoder", "test_resnet", "--weights", made.weights, "--size", 16)
    code, _, err = embed(lmd, data.folder, tmp_path / "features", *choice)
    assert code == 0, err
    refused(lmd("fit", tmp_path / "features", "--out", tmp_path / "run"), "has no training image")


def test_a_run_of_fit_has_no_first_stage(lmd: Command, made: Made, tmp_path: Path) -> None:
    choice = ("--set", "encoder=test_resnet", "--set", "size=16")
    result = lmd("train", made.dataset.folder, "--from", made.run.path, *choice, "--out", tmp_path / "run")
    refused(result, "keeps no first stage", f"encoder: --weights {made.run.path}")
    assert not (tmp_path / "run").exists()
