"""`lmd inspect` and `lmd prepare` on folds: every image is opened once, each fold is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lmd as package
from lmd.data.audit import looks
from lmd.data.dataset.folds_folder import Folds
from tests.command import Command
from tests.folds.conftest import make_folds, write_raw


def test_each_fold_is_told_and_each_image_opened_once(
    lmd: Command, folds: Folds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(folds.folder, tmp_path / "cv", ignore=shutil.ignore_patterns("cache")))
    opened: list[Path] = []
    monkeypatch.setattr(looks, "examine", counted(looks.examine, opened))
    code, out, err = lmd("inspect", copy, "--json", tmp_path / "found.json")
    assert code == 0, err
    assert len(opened) == 60
    lines = [line.split() for line in out.splitlines()]
    for name, dataset in folds.datasets.items():
        counts = [str(len(dataset.split(split))) for split in ("train", "val", "test")]
        assert [name, *counts] in lines
    for k, label in enumerate(folds.classes):
        assert [label, *(str(data.counts("test")[k]) for data in folds.datasets.values())] in lines
    told = json.loads((tmp_path / "found.json").read_text())
    assert list(told) == folds.names
    assert (copy / "inspect.html").is_file()


def counted(function: Callable[..., Any], opened: list[Path]) -> Callable[..., Any]:
    """The function, which notes the files that it is called with."""

    def count(path: Path, *rest: Any, **options: Any) -> Any:
        opened.append(path)
        return function(path, *rest, **options)

    return count


def test_a_leak_of_one_fold_is_told_with_its_name(lmd: Command, tmp_path: Path) -> None:
    """Images divided one by one: two images of a patient are in training and test of some folds."""
    raw = write_raw(tmp_path / "raw")
    folds = make_folds(raw, tmp_path / "cv", folds=3, split="image")
    found = package.inspect(folds, look=False)
    assert isinstance(found, dict)
    assert all(entry.leakage.groups for entry in found.values())
    code, out, _ = lmd("inspect", tmp_path / "cv", "--quick", "--strict")
    assert code == 1
    for name in ("fold-2", "fold-3"):
        assert any(line.startswith(f"{name}: leak: ") for line in out.splitlines()), out


def test_prepare_tells_all_folds(lmd: Command, raw: Path, tmp_path: Path) -> None:
    words = ["prepare", "table", "--root", raw / "images", "--table", raw / "cases.csv"]
    code, out, err = lmd(*words, "--folds", "3", "--out", tmp_path / "cv")
    assert code == 0, err
    assert "60 images, 3 classes, 3 folds (fold-1 ... fold-3)" in out
    assert sum(line.startswith("fold-") for line in out.splitlines()) == 3
