"""A dataset folder on read-only storage: what is kept goes elsewhere, and one line says where."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmd.data.audit.fingerprint import fingerprint
from lmd.data.dataset.manifest import Dataset
from lmd.data.decode import place
from lmd.data.decode.cache import open_cache
from tests import toy


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return toy.make_dataset(tmp_path, {"train": [2, 2, 2], "val": [1, 1, 1], "test": [1, 1, 1]})


@pytest.fixture
def read_only(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The folder cannot be written, for root neither."""
    real = os.access

    def access(path: Any, mode: int) -> bool:
        return not Path(path).is_relative_to(dataset.folder) and real(path, mode)

    monkeypatch.setattr(place.os, "access", access)
    dataset.folder.chmod(0o555)
    place._say_once.cache_clear()
    return dataset


def test_a_folder_that_can_be_written_keeps_its_cache(dataset: Dataset, tmp_path: Path) -> None:
    assert place.cache_folder(dataset) == dataset.folder / "cache"
    open_cache(dataset, 8)
    assert (dataset.folder / "cache" / "hashes.json").is_file()


def test_a_read_only_folder_is_left_alone(
    read_only: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LMD_CACHE", str(tmp_path / "elsewhere"))
    with caplog.at_level(logging.WARNING):
        first = np.array(open_cache(read_only, 8))
        assert np.array_equal(open_cache(read_only, 8), first)
        assert fingerprint(read_only).files is not None
    told = [line for line in caplog.messages if "cannot be written" in line]
    assert len(told) == 1
    assert str(tmp_path / "elsewhere") in told[0]
    assert "LMD_CACHE" in told[0]
    assert not (read_only.folder / "cache").exists()
    kept = [path for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()]
    assert {path.parent.name for path in kept} == {read_only.info.manifest_sha256[:16]}
    assert {path.suffix for path in kept} == {".json", ".npy", ".sums"}


def test_without_the_variable_the_users_cache_folder_is_taken(
    read_only: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LMD_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert place.cache_folder(read_only).is_relative_to(tmp_path / "home" / ".cache")


def test_what_was_made_beforehand_is_used(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Whoever keeps the storage may fill DATA/cache before it becomes read-only."""
    open_cache(dataset, 8)
    request.getfixturevalue("read_only")
    monkeypatch.setenv("LMD_CACHE", str(tmp_path / "elsewhere"))
    open_cache(dataset, 8)
    assert not (tmp_path / "elsewhere").exists()
