"""`--weights RUN`: the encoder of an earlier run, with other classes, and what that run has seen."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from lmd import methods
from lmd.data.dataset.manifest import Dataset, write_dataset
from lmd.errors import CheckpointError, DataError, LmdError, SettingsError
from lmd.evaluation.judge import evaluate_run
from lmd.evaluation.leaks.seen import read_seen
from lmd.run import RunFolder
from lmd.seals import read_sealed_json, sealed_json
from lmd.settings import CommonSettings, Tree, merge
from lmd.training.progress import Silent
from lmd.training.start import train
from tests import toy


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy.make_dataset(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two other classes, and no image of the first data set."""
    counts = {"train": [9, 6], "val": [3, 3], "test": [3, 3]}
    drawn = toy.make_dataset(tmp_path_factory.mktemp("other"), counts, "L", ["one", "two"])
    return drawn


def settings_of(name: str = "ce", **changes: Any) -> CommonSettings:
    return methods.settings_of(name, recipe=merge(toy.recipe(name), changes))


@pytest.fixture(scope="module")
def earlier(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(dataset, "ce", settings_of(), tmp_path_factory.mktemp("earlier") / "run")


def encoder(folder: RunFolder) -> dict[str, torch.Tensor]:
    return {name: value for name, value in load_file(folder.weights).items() if name.startswith("encoder.")}


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_begins_with_the_encoder_of_another_and_its_own_classes(
    earlier: RunFolder, other: Dataset, tmp_path: Path
) -> None:
    frozen = settings_of(weights=str(earlier.path), freeze="all")
    run = train(other, "ce", frozen, tmp_path / "run")
    assert equal(encoder(run), encoder(earlier))
    assert load_file(run.weights)["classifier.weight"].shape[0] == 2
    free = train(other, "ce", settings_of(weights=str(earlier.path)), tmp_path / "free")
    assert not equal(encoder(free), encoder(earlier))


def test_it_is_the_finished_encoder_and_not_that_of_the_first_stage(
    dataset: Dataset, other: Dataset, tmp_path: Path
) -> None:
    lmd = train(dataset, "lmd", settings_of("lmd"), tmp_path / "lmd")
    run = train(other, "ce", settings_of(weights=str(lmd.path), freeze="all"), tmp_path / "run")
    assert equal(encoder(run), encoder(lmd))


class Stop(Silent):
    """Interrupts a run after the first epoch that it finishes."""

    def finished(self, record: Tree) -> None:
        raise KeyboardInterrupt


def test_resumed_equals_uninterrupted_and_notices_other_weights(
    earlier: RunFolder, other: Dataset, tmp_path: Path
) -> None:
    start = RunFolder(Path(shutil.copytree(earlier.path, tmp_path / "start")))
    settings = settings_of(weights=str(start.path))
    whole = train(other, "ce", settings, tmp_path / "whole")
    for name in ("run", "late"):
        with pytest.raises(KeyboardInterrupt):
            train(other, "ce", settings, tmp_path / name, progress=Stop())
    resumed = train(other, "ce", settings, tmp_path / "run", resume=True)
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()
    assert resumed.images.read_bytes() == whole.images.read_bytes()
    save_file({**load_file(start.weights), "more": torch.zeros(1)}, start.weights)
    with pytest.raises(CheckpointError, match="weights_sha256"):
        train(other, "ce", settings, tmp_path / "late", resume=True)


def refused(kind: type[LmdError], words: str, data: Dataset, out: Path, **changes: Any) -> None:
    """Asserts one line that says what is wrong, and that nothing was written."""
    with pytest.raises(kind, match=words) as error:
        train(data, "ce", settings_of(**changes), out)
    assert "\n" not in str(error.value)
    assert not out.exists()


def test_what_is_no_such_run_is_refused(earlier: RunFolder, other: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    refused(
        SettingsError,
        "its encoder is 'test_resnet', this run wants 'test_vit'; --set encoder=test_resnet",
        other, out, weights=str(earlier.path), encoder="test_vit",
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        train(other, "ce", settings_of(), tmp_path / "open", progress=Stop())
    refused(CheckpointError, "has not finished; go on", other, out, weights=str(tmp_path / "open"))
    (tmp_path / "folder").mkdir()
    refused(CheckpointError, "a folder and no run", other, out, weights=str(tmp_path / "folder"))
    refused(CheckpointError, "no weights file", other, out, weights=str(tmp_path / "nowhere"))


def test_the_model_file_of_a_run_is_not_taken_behind_its_back(
    earlier: RunFolder, other: Dataset, tmp_path: Path
) -> None:
    """Nobody would know which images it has seen."""
    for file, words in (
        (earlier.weights, "named by its folder: --weights RUN"),
        (earlier.stage1, "hold nothing"),
    ):
        refused(CheckpointError, words, other, tmp_path / "run", weights=str(file))


def test_a_fold_is_taken_and_all_folds_are_not(earlier: RunFolder, other: Dataset, tmp_path: Path) -> None:
    fold = RunFolder(Path(shutil.copytree(earlier.path, tmp_path / "folds" / "fold-1")))
    run = train(other, "ce", settings_of(weights=str(fold.path), freeze="all"), tmp_path / "run")
    assert equal(encoder(run), encoder(earlier))
    refused(
        SettingsError,
        "one run for each fold: name one, such as .*fold-1",
        other, tmp_path / "all", weights=str(tmp_path / "folds"),
    )  # fmt: skip


def test_another_normalisation_is_refused(earlier: RunFolder, other: Dataset, tmp_path: Path) -> None:
    start = RunFolder(Path(shutil.copytree(earlier.path, tmp_path / "start")))
    card, _ = read_sealed_json(start.model)
    card["preprocessing"]["mean"] = [0.1, 0.2, 0.3]
    start.model.write_text(sealed_json(card))
    refused(
        SettingsError, r"mean and std \(0.1, 0.2, 0.3\)", other, tmp_path / "run", weights=str(start.path)
    )


# What the earlier run has seen.


def mixed(folder: Path, dataset: Dataset, rows: dict[str, list[str]], **names: str) -> Dataset:
    """A data set of images of another one, by their ids and new splits; `names` are groups of some."""
    table = dataset.table.set_index("id", drop=False)
    parts = [table.loc[ids].assign(split=split) for split, ids in rows.items()]
    whole = pd.concat(parts).reset_index(drop=True)
    whole["group"] = [names.get(key, key) for key in whole["id"]]
    return write_dataset(folder, whole, dataset.info)


def ids(dataset: Dataset, split: str, label: str) -> list[str]:
    rows = dataset.split(split)
    return rows["id"][rows["label"] == label].tolist()


def all_tests(dataset: Dataset) -> dict[str, list[str]]:
    """Only images that a run on this data set has not seen: those of its test split, divided."""
    found = [ids(dataset, "test", label) for label in toy.CLASSES]
    return {
        "train": [key for part in found for key in part[:1]],
        "val": [key for part in found for key in part[1:2]],
        "test": [key for part in found for key in part[2:]],
    }


def test_test_images_that_it_was_trained_on_are_refused(
    earlier: RunFolder, dataset: Dataset, tmp_path: Path
) -> None:
    rows = all_tests(dataset)
    seen = [*ids(dataset, "train", "common")[:2], *ids(dataset, "val", "less")[:1]]
    data = mixed(tmp_path / "data", dataset, {**rows, "test": [*rows["test"], *seen]})
    number = len(rows["test"]) + 3
    refused(
        DataError,
        rf"was trained on 3 of the {number} test images of .* \(first: image\d+\)",
        data, tmp_path / "run", weights=str(earlier.path),
    )  # fmt: skip
    clean = mixed(tmp_path / "clean", dataset, rows)
    train(clean, "ce", settings_of(weights=str(earlier.path)), tmp_path / "run")


def test_its_own_data_may_be_trained_on_again(earlier: RunFolder, dataset: Dataset, tmp_path: Path) -> None:
    run = train(dataset, "ce", settings_of(weights=str(earlier.path), seed=1), tmp_path / "run")
    result = evaluate_run(run, "test")
    assert result.overlap is not None
    assert not result.overlap.any


def test_validation_images_and_names_of_groups_are_told(
    earlier: RunFolder, dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = all_tests(dataset)
    seen = ids(dataset, "train", "common")[:2]
    data = mixed(tmp_path / "data", dataset, {**rows, "val": [*rows["val"], *seen]})
    with caplog.at_level(logging.WARNING):
        train(data, "ce", settings_of(weights=str(earlier.path)), tmp_path / "run")
    assert f"was trained on 2 of the {len(rows['val']) + 2} validation images" in caplog.text
    assert "groups" not in caplog.text


def test_equal_names_of_patients_are_a_warning(
    dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = {split: dataset.split(split)["id"].tolist() for split in ("train", "val")}
    first = mixed(tmp_path / "first", dataset, rows, **dict.fromkeys(rows["train"][:2], "P1"))
    start = train(first, "ce", settings_of(), tmp_path / "start")
    new = all_tests(dataset)
    data = mixed(tmp_path / "data", dataset, new, **{new["test"][0]: "p-1", new["test"][1]: "P9"})
    with caplog.at_level(logging.WARNING):
        train(data, "ce", settings_of(weights=str(start.path)), tmp_path / "run")
    assert "with the names of 1 of the 2 of the test split" in caplog.text
    assert "P1" not in caplog.text


def test_what_it_has_seen_counts_as_seen(
    earlier: RunFolder, dataset: Dataset, other: Dataset, tmp_path: Path
) -> None:
    """Also behind a second run between them."""
    run = train(other, "ce", settings_of(weights=str(earlier.path)), tmp_path / "run")
    last = train(other, "ce", settings_of(weights=str(run.path), seed=3), tmp_path / "last")
    second = methods.settings_of("decoupling", recipe=toy.recipe("decoupling"))
    taken = train(other, "decoupling", second, tmp_path / "taken", start=last)
    for folder in (run, last, taken):
        with pytest.raises(DataError, match="40 of 40 images were trained on"):
            evaluate_run(folder, "train", only(dataset, "common", other))
        kept = read_seen(folder)
        assert kept is not None
        assert kept.earlier is not None
    result = evaluate_run(last, "test")
    assert result.data is None  # Its own data set, though the weights have seen another.
    assert result.overlap is not None
    assert not result.overlap.any


def only(dataset: Dataset, label: str, like: Dataset) -> Dataset:
    """The images of one class, under the name of a class that the other model knows."""
    table = dataset.table[dataset.table["label"] == label].assign(label=like.classes[0])
    info = dataset.info.model_copy(update={"classes": like.classes, "bands": like.info.bands})
    return replace(dataset, table=table.reset_index(drop=True), info=info)


def test_a_run_on_files_keeps_no_earlier_images(earlier: RunFolder) -> None:
    assert list(read_sealed_json(earlier.images)[0]) == ["format", "train", "val"]


def test_a_run_without_hashes_is_told(
    earlier: RunFolder, dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its training folder says what it has seen, where that is there."""
    start = RunFolder(Path(shutil.copytree(earlier.path, tmp_path / "start")))
    start.images.unlink()
    rows = all_tests(dataset)
    seen = {**rows, "test": [*rows["test"], *ids(dataset, "train", "rare")[:1]]}
    data = mixed(tmp_path / "data", dataset, seen)
    refused(DataError, "trained on 1 of the", data, tmp_path / "run", weights=str(start.path))
    start.settings.write_text(start.settings.read_text().replace(str(dataset.folder.resolve()), "/nowhere"))
    with caplog.at_level(logging.WARNING):
        train(data, "ce", settings_of(weights=str(start.path)), tmp_path / "run")
    assert "it is not known which images it was trained on" in caplog.text
