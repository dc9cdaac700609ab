"""One clear line for each mistake, and nothing written."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lmd import cli
from lmd.data.dataset.manifest import read_dataset
from lmd.errors import CheckpointError, LmdError, SettingsError
from lmd.experiments.engine import reproduce
from lmd.experiments.request import asked, check
from lmd.settings import Tree
from tests import toy
from tests.experiments.phantoms import COMMON, draw_phantoms, request_of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantom data sets, and room for the experiments."""
    return draw_phantoms(tmp_path_factory.mktemp("reproduce"))


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("table2", {"methods": "ce,decouplin"}, "table2 has no 'decouplin'; did you mean 'decoupling'"),
        ("table4", {"methods": "ce"}, "table4 has no 'ce'; known: 0.0001"),
        ("table2", {"methods": ","}, "names no method"),
        ("table2", {"seeds": 0}, "--seeds 0"),
        ("table2", {"data": ("first", "second")}, "one data set"),
        ("table2", {"data": ("nowhere",)}, "no dataset folder nowhere"),
        ("table2", {"data": ("100=first",)}, "name the folder alone"),
        ("table2", {"data": ()}, "needs --data"),
        ("table3", {"data": ("200=first",)}, "no column '200'; known: 100, 300, 500"),
        ("table3", {"data": ("first", "second")}, "say which is which"),
        ("table3", {"data": ("100=first", "100=second")}, "two folders for '100'"),
        ("table3", {"data": ("100=first", "300=first")}, "the same data set"),
        ("table2", {"overrides": ("seed=3",)}, "use --seeds"),
        ("table4", {"overrides": ("e_step.distribution_weight=1",)}, "table4 itself sets"),
        ("table4", {"overrides": ("stage1={}",)}, "it sets nothing"),
        ("table2", {"overrides": (*COMMON, "stage2.cov=oas")}, "it is now 'statistics.covariance'"),
        ("table2", {"overrides": ("stage1.epoch=3",)}, "did you mean 'stage1.epochs'"),
        ("table2", {"overrides": (*COMMON[:-1], "stage1.epochs=0")}, "stage1.epochs = 0"),
        ("table2", {"weights": "nowhere.safetensors"}, "no weights file nowhere.safetensors"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(
    name: str, changes: Tree, words: str, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(LmdError, match=words):
        reproduce(request_of(root, name, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_data_of_another_shape_are_refused(root: Path, tmp_path: Path) -> None:
    dataset = toy.make_dataset(
        tmp_path / "two", classes=["common", "less"], counts={"train": [9, 5], "test": [3, 2]}
    )
    request = replace(request_of(root, "table2", tmp_path / "out"), data=[str(dataset.folder)])
    with pytest.raises(LmdError, match=r"table2 needs classes in head, medium and tail; .* has none in tail"):
        reproduce(request)
    untested = toy.make_dataset(tmp_path / "untested", counts={"train": [9, 5, 4], "val": [3, 2, 1]})
    with pytest.raises(LmdError, match="measured on the test split"):
        reproduce(replace(request_of(root, "table1", tmp_path / "out"), data=[str(untested.folder)]))
    few = toy.make_dataset(tmp_path / "few", counts={"train": [9, 5, 4], "test": [3, 2, 1]})
    with pytest.raises(LmdError, match="at least 10 of two classes"):
        reproduce(replace(request_of(root, "fig4", tmp_path / "out"), data=[str(few.folder)]))
    assert not (tmp_path / "out").exists()


def test_a_call_that_failed_before_it_trained_anything_binds_nothing(root: Path, tmp_path: Path) -> None:
    """Weights that do not fit are named on the first call; the second, without them, is not refused."""
    save_file({"other": torch.zeros(1)}, tmp_path / "weights.safetensors")
    wrong = request_of(root, "table2", tmp_path / "out", methods="ce", seeds=1)
    with pytest.raises(CheckpointError, match="hold nothing of this encoder"):
        reproduce(replace(wrong, weights=str(tmp_path / "weights.safetensors")))
    assert not reproduce(wrong).failures
    with pytest.raises(SettingsError, match="with weights_sha256 = None, now asked for"):
        reproduce(replace(wrong, weights=str(tmp_path / "weights.safetensors")))


def test_a_folder_without_a_label_goes_to_the_nearest_column(root: Path) -> None:
    job = check(request_of(root, "table3", data=("first",)))
    assert list(job.data) == ["100"]
    assert read_dataset(root / "first").info.title == job.data["100"].first.info.title


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tabel3", "--data", "x", "--out", "y"], "unknown experiment 'tabel3'; did you mean 'table3'?"),
        (
            ["table3", "--data", "x", "--out", "y", "--budget", "shrt"],
            "unknown budget 'shrt'; did you mean 'short'?",
        ),
    ],
)
def test_the_command_prints_one_line(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lmd", "reproduce", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    err = capfd.readouterr().err
    assert stopped.value.code == 2
    assert err == f"lmd: {words}\n"


def test_the_arguments_of_the_python_function_make_the_same_request(root: Path, tmp_path: Path) -> None:
    """A data set or its folder, names in a list or a text, settings as the command's --set or by name."""
    folder = root / "first"
    options = {"methods": ["ce", "lmd"], "settings": {"stage1": {"epochs": 1}}, "seeds": 2}
    found = asked("table1", read_dataset(folder), tmp_path, options)
    same = {"methods": "ce,lmd", "settings": "stage1.epochs=1", "seeds": 2}
    assert found == asked("table1", str(folder), tmp_path, same)
    assert (found.data, found.methods, found.overrides) == ([str(folder)], "ce,lmd", ["stage1.epochs=1"])
    assert asked("table3", [f"100={folder}"], tmp_path, {}).data == [f"100={folder}"]
