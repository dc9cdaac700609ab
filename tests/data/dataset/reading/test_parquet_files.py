"""Tables of Parquet: the same as CSV; lists, bytes and the images of Hugging Face."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from lmd.data.dataset.reading.tables import read_table
from lmd.errors import DataError
from tests.messy import Messy, cases


@pytest.fixture
def messy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Messy:
    return Messy(tmp_path, caplog)


def parquet(path: Path, **columns: object) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path / "cases.parquet")
    return path / "cases.parquet"


IMAGE = {"bytes": b"\x89PNG\r\n\x1a\n\0", "path": "x.png"}


@pytest.mark.parametrize("value", [IMAGE, IMAGE["bytes"], [IMAGE["bytes"]]])
def test_images_inside_of_the_file_are_refused_without_their_bytes(tmp_path: Path, value: object) -> None:
    with pytest.raises(
        DataError, match=r"holds the images themselves \(column 'image'\).*write_bytes"
    ) as told:
        read_table(parquet(tmp_path, image=[value] * 3, label=[0, 1, 0]))
    assert "PNG" not in str(told.value)


def test_binary_data_beside_the_names_of_images_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = read_table(parquet(tmp_path, image_id=["a", "b"], thumb=[b"\xff\0", None], label=["x", "y"]))
    assert list(table.columns) == ["image_id", "label"]
    assert "binary data is left out (columns: thumb)" in caplog.text


def test_paths_and_texts_in_bytes_are_read(tmp_path: Path) -> None:
    paths = [{"bytes": None, "path": f"x{row}.png"} for row in range(2)]
    struct = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = read_table(
        parquet(tmp_path, image=pyarrow.array(paths, struct), label=[b"nae\nvus", "ä".encode()])
    )
    assert table.to_numpy().tolist() == [["x0.png", "nae\nvus"], ["x1.png", "ä"]]


def test_a_list_of_one_label_is_the_label(messy: Messy) -> None:
    columns = cases()
    labels = [[label] for label in columns["label"]]
    path = parquet(messy.path, image=columns["image"], label=labels)
    assert messy.table(path).table["label"].tolist() == columns["label"]
    labels[3] = ["melanoma", "nevus"]
    shutil.rmtree(messy.out)
    with pytest.raises(DataError, match=r"several classes in row 5: 'melanoma\|nevus'; .*multi-label"):
        messy.table(parquet(messy.path, image=columns["image"], label=labels))


def test_types_of_parquet_are_the_texts_of_a_csv_file(tmp_path: Path) -> None:
    zone = datetime.UTC
    frame = pd.DataFrame(
        {
            "kind": pd.Categorical(["a", "b"]),
            "whole": pd.array([12345678901234567, None], dtype="Int64"),
            "when": [datetime.datetime(2026, 1, 2, tzinfo=zone)] * 2,
            "day": [datetime.date(2026, 1, 2)] * 2,
            "flag": [True, False],
        },
        index=["x0", "x1"],
    )
    frame.to_parquet(tmp_path / "cases.parquet")
    table = read_table(tmp_path / "cases.parquet")
    assert table.loc[2].tolist() == [
        "a",
        "12345678901234567",
        "2026-01-02 00:00:00+00:00",
        "2026-01-02",
        "True",
        "x0",
    ]
    assert table.loc[3, "whole"] == ""
    assert list(table.columns)[-1] == "index"
    frame.set_axis([7, 3]).to_parquet(tmp_path / "cases.parquet")
    assert "index" not in read_table(tmp_path / "cases.parquet").columns


def test_ids_as_decimal_numbers_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = read_table(parquet(tmp_path, image=["x", "y"], pid=[1234567890123456.0, None], index_no=[1, 2]))
    assert table.loc[2].tolist() == ["x", "1234567890123456", "1"]
    assert "1 number in the column 'pid' has more than 15 digits and may have lost some" in caplog.text
