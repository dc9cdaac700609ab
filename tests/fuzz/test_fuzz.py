"""A few hostile inputs for every reader, and every one that has once come out wrong; `make fuzz` gives thousands."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmd.errors import DataError
from tests.fuzz import work, world
from tests.fuzz.readers import READERS, Reader

CORPUS = sorted((Path(__file__).parent / "corpus").glob("[a-z]*"))
INPUTS = 40
# Each input of these starts a process of its own, or loads a network.
SLOW = {"dicom-gdcm": 6, "dicom-rle": 6, "cache": 10}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.make(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def as_the_command_runs() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("name", READERS)
def test_nothing_but_errors_of_ours_comes_out(made: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    shutil.copytree(made, folder)
    assert list(work.failures(name, folder, 1, 0, SLOW.get(name, INPUTS), tmp_path / "progress")) == []


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_what_once_came_out_wrong(made: Path, tmp_path: Path, path: Path) -> None:
    name = path.name.split(",")[0]
    folder = tmp_path / "world"
    shutil.copytree(made, folder)
    work._place_of(READERS[name], folder).write_bytes(path.read_bytes())
    for number in (0, 1, 2, 3, 5, 20):
        assert work.fault_of(READERS[name], folder, number) is None


def test_a_traceback_and_a_long_message_are_noticed(tmp_path: Path) -> None:
    def reader(error: BaseException) -> Reader:
        def read(folder: Path, number: int) -> None:
            raise error

        return Reader("x", "x", lambda folder: [b""], read)

    class Panic(BaseException):
        pass

    assert work.fault_of(reader(DataError("no")), tmp_path, 0) is None
    assert "KeyError at test_fuzz.py" in (work.fault_of(reader(KeyError("x")), tmp_path, 0) or "")
    assert "Panic" in (work.fault_of(reader(Panic()), tmp_path, 0) or "")


def test_an_input_is_known_by_its_number(made: Path) -> None:
    reader = READERS["manifest"]
    seeds = reader.seeds(made)
    inputs = [
        [work.input_of(reader, seeds, seed, number, made) for number in range(50)] for seed in (1, 1, 2)
    ]
    assert inputs[0] == inputs[1] != inputs[2]
    assert len(set(inputs[0])) > 40
