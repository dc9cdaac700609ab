"""Files of a data set, of a run and tables that are well formed and cannot be: each is refused in one line."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.data.dataset.reading import excel_sheets, parquet_files, table_kinds
from lmd.data.dataset.reading.tables import read_table
from lmd.data.decode.hashes import file_hashes
from lmd.errors import CheckpointError, DataError
from lmd.records import read_environment, read_metrics
from lmd.run import read_identity
from lmd.run_folder import RunFolder
from tests import toy

COUNTS = {"train": [4, 3, 2], "val": [1, 1, 1], "test": [1, 1, 1]}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return toy.make_dataset(tmp_path / "toy", COUNTS)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"classes": ["common", "less", " "]}, "classes: a class has no name"),
        ({"bands": {"head": ["common", "rar"]}}, "bands: 'rar' is none of the classes"),
        ({"bands": {"head": ["common"], "tail": ["common"]}}, "bands: a class is in two of them"),
        ({"image_root": "a\0b"}, "image_root: no folder has a NUL"),
        ({"recipe": {"frame": "x"}}, "recipe.frame = 'x': must be a whole number from 1 on"),
        ({"recipe": {"frame": True}}, "recipe.frame = True: must be a whole number"),
        ({"recipe": {"bits": 17}}, "recipe.bits = 17: must be a whole number from 1 to 16"),
        ({"recipe": {"bits": 1.5}}, "recipe.bits = 1.5"),
        ({"classes": "common"}, "classes: must be a list"),
        ({"title": None}, "title: must be text"),
        ({"nonesuch": 1}, "nonesuch: is unknown"),
        ({"title": "A" * 100_000, "classes": [["A" * 100_000]]}, "classes.0: must be text"),
    ],
)
def test_contents_of_dataset_json(dataset: Dataset, values: dict[str, Any], words: str) -> None:
    change(dataset.folder / "dataset.json", **values)
    with pytest.raises(DataError) as caught:
        read_dataset(dataset.folder)
    assert str(dataset.folder / "dataset.json") in str(caught.value)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"a": 1, "a": 2}',
        "[" * 100_000,
        '{"title": "\\ud800"}',
        '{"seed": 1e999}',
        "\xff",
        "9" * 5000,
    ],
)
def test_a_dataset_json_that_is_damaged(dataset: Dataset, text: str) -> None:
    (dataset.folder / "dataset.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"dataset\.json is damaged: "):
        read_dataset(dataset.folder)


def with_manifest(dataset: Dataset, edit: Callable[[bytes], bytes]) -> None:
    path = dataset.folder / "manifest.csv"
    path.write_bytes(edit(path.read_bytes()))
    change(dataset.folder / "dataset.json", manifest_sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"image001.png,", b"image001.png,more,", "is not a table"),
        (b"\nimage", b"\nx,image", "its rows have more values than its header, or a NUL"),
        (b"image001.png", b"image\x00001.png", "its rows have more values than its header, or a NUL"),
        (b"image001.png", b"x" * 300, "is missing in"),
        (b"image001.png", b"../image001.png", "lies outside of the image folder"),
        (b",train,", b",trial,", "unknown split 'trial'"),
        (b"image001,", b"\xff,", "is not a table"),
    ],
)  # fmt: skip
def test_a_manifest_that_cannot_be(dataset: Dataset, old: bytes, new: bytes, words: str) -> None:
    with_manifest(dataset, lambda data: data.replace(old, new))
    with pytest.raises(DataError, match=words):
        read_dataset(dataset.folder)


# Tables that would fill the memory.


def workbook(path: Path, cells: dict[str, str]) -> Path:
    """A workbook whose second and third cell are somewhere else."""
    pd.DataFrame({"image": ["a.png"], "label": ["x"]}).to_excel(path, index=False)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for old, new in cells.items():
        parts["xl/worksheets/sheet1.xml"] = parts["xl/worksheets/sheet1.xml"].replace(
            old.encode(), new.encode()
        )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def test_cells_that_stand_far_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = {'<row r="2"': '<row r="999999999999"', '"A2"': '"A999999999999"', '"B2"': '"B999999999999"'}
    monkeypatch.setattr(excel_sheets, "MOST_CELLS", 1_000_000)
    with pytest.raises(
        DataError, match=r"a\.xlsx has a sheet of more than 1,000,000 cells, blank ones counted"
    ):
        read_table(workbook(tmp_path / "a.xlsx", far))
    wide = {'"B2"': '"XFD2"', '<row r="2"': '<row r="900"', '"A2"': '"A900"'}
    monkeypatch.setattr(excel_sheets, "MOST_CELLS", 20_000)
    with pytest.raises(DataError, match=r"b\.xlsx has .*columns|b\.xlsx has a sheet of more"):
        read_table(workbook(tmp_path / "b.xlsx", wide))


def test_a_workbook_that_unpacks_to_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workbook(tmp_path / "a.xlsx", {"<sheetData>": " " * 3_000_000 + "<sheetData>"})
    assert path.stat().st_size < 100_000
    assert len(read_table(path)) == 1
    monkeypatch.setattr(excel_sheets, "MOST_BYTES", 2_000_000)
    with pytest.raises(
        DataError, match=r"a\.xlsx has parts that unpack to more than 2,000,000 bytes: leave out"
    ):
        read_table(path)


def test_a_parquet_file_of_a_billion_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    column = pa.array(["x"] * 200_000).dictionary_encode()
    pyarrow.parquet.write_table(pa.table({"image": column, "label": column}), path)
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(parquet_files, "MOST_CELLS", 300_000)
    with pytest.raises(
        DataError, match=r"a\.parquet has 200,000 rows and 2 columns, [\d,]+ bytes \(it may hold the images"
    ):
        read_table(path)


def test_a_table_larger_than_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("image,label\n" + "a.png,x\n" * 1000)
    monkeypatch.setattr(table_kinds, "MOST_BYTES", 5000)
    with pytest.raises(DataError, match=r"a\.csv has more than 5,000 bytes: leave out what is not needed"):
        read_table(path)


# What a run keeps.


HEAD = "method: ce\nmethod_sha256: null\ndata: /data\nmanifest_sha256: abc\nweights_sha256: null\nfrom_sha256: null\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD.replace("ce", "[ce]"), "method = "), (HEAD.replace("ce", "null"), "method = None is no text"), (HEAD.replace("/data", "3"), "data = 3 is no text"),
        (HEAD.replace("/data", r'"a\0b"'), "data = "), (HEAD.replace("abc", "{a: 1}"), "manifest_sha256 = "), (HEAD + "x: *y\n", "alias"), (HEAD + "x: [" * 99, "deep"),
        ("method: ce\n", "is not a run folder"), ("[]", "is not a run folder"), ("", "is not a run folder"), ("\xff", "UTF-8"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "settings.yaml").write_bytes(HEAD.encode())
    assert read_identity(RunFolder(tmp_path))["method"] == "ce"
    (tmp_path / "settings.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=words):
        read_identity(RunFolder(tmp_path))


RECORD = {
    "stage": "stage1",
    "epoch": 0,
    "losses": {"total": 1.5},
    "validation": {"bacc": 0.5},
    "seconds": 2.0,
}


def test_metrics_are_read_as_they_were_written(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(
        json.dumps(RECORD) + "\n" + json.dumps(RECORD | {"more": 1}) + "\n"
    )
    assert read_metrics(tmp_path) == [RECORD, RECORD | {"more": 1}]


@pytest.mark.parametrize(
    "record",
    [RECORD | {"losses": {"total": "1"}}, RECORD | {"losses": {"total": None}}, RECORD | {"epoch": -1}, RECORD | {"seconds": "x"}, RECORD | {"validation": []},
     RECORD | {"validation": {"bacc": "high"}}, {"stage": "stage1"}, [], 3, None],
    ids=repr,
)  # fmt: skip
def test_a_line_of_metrics_that_is_none(tmp_path: Path, record: Any) -> None:
    (tmp_path / "metrics.jsonl").write_text(json.dumps(RECORD) + "\n" + json.dumps(record) + "\n")
    if record == RECORD | {"losses": {"total": "1"}}:  # A number in quotes is one, for pydantic.
        return
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl is damaged: line 2"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", "{", "NaN", '{"a": NaN}', "[" * 9999])
def test_an_environment_that_is_none(tmp_path: Path, text: str) -> None:
    assert read_environment(tmp_path) == {}
    (tmp_path / "environment.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"environment\.json is damaged"):
        read_environment(tmp_path)


@pytest.mark.parametrize(
    "entry",
    [[1, 2, 3], ["a", "b", "c"], [1, 2, "x" * 64], [1, 2], {"a": 1}, None, [True, 2, "0" * 64]],
    ids=repr,
)
def test_a_kept_hash_that_is_none_counts_as_none(dataset: Dataset, entry: Any) -> None:
    wanted = file_hashes(dataset)
    path = next(dataset.folder.rglob("hashes.json"))
    tree = json.loads(path.read_text())
    path.write_text(json.dumps(dict.fromkeys(tree, entry)))
    assert file_hashes(dataset) == wanted


@pytest.mark.parametrize(
    "head",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1,",
        b"(" * 500,
        b"{'shape': (9" + b"9" * 60 + b",)}",
        b"\0" * 20,
        b"'",
    ],
)
def test_an_array_whose_header_is_damaged_counts_as_none(dataset: Dataset, head: bytes) -> None:
    from lmd.data.audit.looks import _read_kept
    from lmd.data.decode.cache import open_cache

    wanted = open_cache(dataset, 16).copy()
    path = next((dataset.folder / "cache").glob("16-*.npy"))
    file = io.BytesIO(path.read_bytes())
    path.write_bytes(
        file.getvalue()[:8] + len(head).to_bytes(2, "little") + head + file.getvalue()[10 + len(head) :]
    )
    assert len(_read_kept(path)) == 0
    np.testing.assert_array_equal(open_cache(dataset, 16), wanted)
