"""Tables of every kind: the delimiter that fits all rows, Excel and Parquet, and one line for what is no table."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from lmd.data.dataset import workbooks
from lmd.data.dataset.tables import read_table
from lmd.errors import DataError
from tests.command import Command, refused
from tests.messy import Messy, cases, persons, written


@pytest.fixture
def messy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Messy:
    return Messy(tmp_path, caplog)


def text(tmp_path: Path, content: str) -> Path:
    (tmp_path / "cases.csv").write_text(content)
    return tmp_path / "cases.csv"


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("image;a,b;label\n1;2,5;x\n2;3,5;y\n", ["image", "a,b", "label"]),
        ("image;size, mm;label\n1;2;x\n2;3;y\n", ["image", "size, mm", "label"]),
        ("image,note;free,label\n1,a;b;c,x\n2,d,y\n", ["image", "note;free", "label"]),
        ("image\tlabel, in words\n1\tx, y\n2\tz\n", ["image", "label, in words"]),
        ("a|b,c,d|e\n1|2|3\n4|5,6|7\n", ["a", "b,c,d", "e"]),
        ('image;"a;b,c,d"\n1;"2;3"\n2;x\n', ["image", "a;b,c,d"]),
    ],
)
def test_the_delimiter_is_the_one_that_fits_every_row(
    tmp_path: Path, content: str, columns: list[str]
) -> None:
    assert list(read_table(text(tmp_path, content)).columns) == columns


@pytest.mark.parametrize(
    ("word", "mark"), [("tab", "\t"), ("semicolon", ";"), (":", ":"), ("space", " "), ("\\t", "\t")]
)
def test_a_delimiter_may_be_named(tmp_path: Path, word: str, mark: str) -> None:
    path = text(tmp_path, f"image{mark}label\n1{mark}x\n2{mark}y\n")
    assert list(read_table(path, delimiter=word).columns) == ["image", "label"]


@pytest.mark.parametrize("word", ["", "ab", '"', "\n"])
def test_what_is_no_delimiter_is_refused(tmp_path: Path, word: str) -> None:
    with pytest.raises(DataError, match="must be one character, or tab"):
        read_table(text(tmp_path, "a,b\n1,2\n"), delimiter=word)


def test_a_row_of_another_length_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"3 fields in row 3, its header has 2; fields with a delimiter in them need quotes"
    ):
        read_table(text(tmp_path, "image,label\n1,a\n2,b,c\n"))
    with pytest.raises(DataError, match=r"1 fields in row 3, .*it looks like a comment: delete it"):
        read_table(text(tmp_path, "image,label\n1,a\n# end of part one\n2,b\n"))


# Excel and Parquet.


def test_an_excel_table_is_the_csv_table(messy: Messy) -> None:
    columns = cases(patient_id=persons(), code=[f"{row:03d}" for row in range(24)])
    frame = pd.DataFrame(columns).assign(age=[50, None] * 12, when=pd.Timestamp("2026-01-02"), dose=1.5)
    frame.to_excel(messy.path / "cases.xlsx", index=False)
    dataset = messy.table(messy.path / "cases.xlsx")
    assert dataset.table["group"].tolist() == persons()
    assert dataset.table["code"][1] == "001"
    assert dataset.table["age"][:2].tolist() == ["50", ""]
    assert dataset.table["dose"][0] == "1.5"
    assert "cases.xlsx" in dataset.info.tables_sha256


def test_a_parquet_table_is_the_csv_table(messy: Messy) -> None:
    pd.DataFrame(cases(patient_id=persons())).assign(age=[50.0, None] * 12).to_parquet(
        messy.path / "cases.parquet"
    )
    dataset = messy.table(messy.path / "cases.parquet")
    assert dataset.table["group"].tolist() == persons()
    assert dataset.table["age"][:2].tolist() == ["50", ""]


def test_one_of_several_sheets_has_to_be_named(messy: Messy) -> None:
    with pd.ExcelWriter(messy.path / "cases.xlsx") as writer:
        pd.DataFrame(cases()).to_excel(writer, sheet_name="images", index=False)
        pd.DataFrame({"note": ["x"]}).to_excel(writer, sheet_name="legend", index=False)
    with pytest.raises(DataError, match=r"several sheets \(images, legend\); name one with --sheet"):
        messy.table(messy.path / "cases.xlsx")
    with pytest.raises(DataError, match=r"no sheet 'imgs' \(sheets: images, legend\)"):
        messy.table(messy.path / "cases.xlsx", sheet="imgs")
    assert len(messy.table(messy.path / "cases.xlsx", sheet="images").table) == 24


@pytest.mark.parametrize("name", ["cases.xlsx", "cases.parquet"])
def test_a_damaged_workbook_is_one_line(messy: Messy, name: str) -> None:
    (messy.path / name).write_bytes(b"PK\x03\x04 cut" if name.endswith("xlsx") else b"PAR1\0 cut")
    with pytest.raises(DataError, match=r"is no readable (Excel|Parquet) file"):
        messy.table(messy.path / name)
    with pytest.raises(DataError, match="No such file"):
        messy.table(messy.path / f"gone-{name}")


def test_what_reads_excel_may_not_be_installed(messy: Messy, monkeypatch: pytest.MonkeyPatch) -> None:
    (messy.path / "cases.xlsx").write_bytes(b"PK\x03\x04")

    def lacks(*_: object) -> list[list[object]]:
        raise ImportError("no openpyxl")

    monkeypatch.setattr(workbooks, "excel_rows", lacks)
    with pytest.raises(DataError, match=r"needs more to be installed: .*tables.*or save it as CSV"):
        messy.table(messy.path / "cases.xlsx")


# What is no table.


def zipped(*names: str, mimetype: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names or ("cases.csv",):
            archive.writestr(name, mimetype or "image,label\n")
    return buffer.getvalue()


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 99
ODS = "application/vnd.oasis.opendocument.spreadsheet"


OTHERS: dict[str, tuple[bytes, str]] = {
    "json": (json.dumps([{"image": "x", "label": "a"}]).encode(), "is JSON, not a table: save it as a CSV"),
    "json object": (b'{"images": [\n {"file_name": "x.png"', "is JSON"),
    "zip": (zipped(), "is a ZIP archive, not a table: unpack it"),
    "gzip": (gzip.compress(b"image,label\n"), "is packed with gzip"),
    "xls": (OLE, "an old Excel file"),
    "password": (OLE + "EncryptedPackage".encode("utf-16-le"), "is protected by a password"),
    "xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel file.*the ending .xlsx"),
    "xlsb": (zipped("xl/workbook.bin"), "a binary Excel file"),
    "ods": (zipped("mimetype", "content.xml", mimetype=ODS), r"OpenDocument spreadsheet \(.ods\).*\.xlsx"),
    "docx": (zipped("word/document.xml"), "a Word document"),
    "numbers": (zipped("Index/Document.iwa"), "Apple Numbers"),
    "npz": (zipped("images.npy", "labels.npy"), r"a NumPy archive"),
    "npy": (b"\x93NUMPY\x01\0", "a NumPy file"),
    "mat": (b"MATLAB 5.0 MAT-file, Platform", "a MATLAB file.*writetable"),
    "rds": (gzip.compress(b"X\n\0\0\0\x03\0"), r"an R data file.*write\.csv"),
    "rdata": (bz2.compress(b"RDX3\nX\n\0\0"), "an R data file"),
    "sas": (b"\0" * 12 + b"\xc2\xea\x81\x60\xb3\x14\x11\xcf", "a SAS file"),
    "stata 12": (b"r\x02\x01\0", "a Stata file"),
    "tar.gz": (gzip.compress(b"x" * 257 + b"ustar"), "a tar archive"),
    "image": (b"\x89PNG\r\n\x1a\n", "is an image, not a table: name the table of the images"),
    "parquet": (b"PAR1\0\0PAR1", "a Parquet file.*the ending .parquet"),
    "arff": (b"% by hand\n\n@RELATION cases\n@DATA\nx.png,a\n", "an ARFF file"),
    "markdown": (b"| image | label |\n|---|:--|\n| x | a |\n", "a Markdown table"),
    "psql": (b" image | label\n-------+------\n x | a\n", "a Markdown table"),
    "yaml": (b"- image: x.png\n  label: a\n- image: y.png\n  label: b\n", "is YAML"),
    "latex": (b"% table 1\n\\begin{tabular}{ll}\nimage & label\n", "is LaTeX"),
    "sql": (b"-- MySQL dump 10\n\nSET NAMES='utf8';\nCREATE TABLE cases (\n", "is SQL"),
    "grid": (b"+-----+-----+\n| a | b |\n", "a table drawn with lines"),
    "pickle": (pickle.dumps({"a": 1}), "a pickle, which may run code"),
    "sqlite": (b"SQLite format 3\0", "an SQLite database"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs pointer.*git lfs pull"),
    "pdf": (b"%PDF-1.7\n", "a PDF document"),
    "sep=;": (b"sep=;\nimage;label\nx.png;a\n", "begins with 'sep=;', a line for Excel alone: delete it"),
    "comment": (b"# made by hand\nimage,label\nx.png,a\n", "begins with a comment"),
    "html": (b"<!DOCTYPE html><html><body>404</body></html>", "is a web page or XML"),
    "no header": (b"x00.png,nevus\nx01.png,melanoma\n", r"has no header: .*\('x00.png'\).*image,label"),
    "no header, numbers": (b"1,0\n2,1\n", r"has no header: .*\('1'\)"),
    "no header, ids": (b"ISIC_0000000,benign\nISIC_0000001,malignant\nISIC_0000002,benign\n",
                       r"may have no header: 'ISIC_0000000'"),
    "no header, words": (b"abc,benign\nxyz,malignant\nuvw,benign\n", "may have no header: 'benign'"),
    "header again": (b"image,label\nx00.png,a\nimage,label\nx01.png,b\n", "repeats its header in row 3"),
    "spaces": (b"image label\nx00.png a\nx01.png b\n", r"one column \('image label'\): .*--delimiter space"),
    "columns": (b"image     label\nx00.png   a\nx01.png   b\n", "--delimiter space"),
    "colons": (b"image:label\nx00.png:a\nx01.png:b\n", r"one column \('image:label'\).*with --delimiter$"),
    "title": (b"Cases of 2024\nimage,label\nx00.png,a\nx01.png,b\n",
              r"row 1 holds a title \('Cases of 2024'\): delete what stands above the header"),
    "title of Excel": (b"Cases,,\n by hand,,\nimage,label,n\nx00.png,a,1\n", "rows 1 to 2 hold a title"),
    "title with a comma": (b"Cases, 2024\nimage,label,n\nx00.png,a,1\n",
                           "3 fields in row 2, its header has 2, and so have all rows below: delete a title"),
    "inner quotes": (b'image,label,note\nx00.png,a,"a "b" c"\n', "a quote inside of a quoted field in row 2"),
    "backslash": (b'image,label,note\n\nx0.png,a,"a \\"b\\" c"\n', "a quoted field in row 3: write each"),
    "open quote": (b'image,label\nx00.png,a\nx01.png,"b\n', "opens a quote in row 3"),
    "empty": (b"", "is empty"),
    "blank": (b"\n \n", "is empty|has no rows"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), OTHERS.values(), ids=OTHERS)
def test_a_file_that_is_no_table_is_named_for_what_it_is(
    messy: Messy, lmd: Command, content: bytes, said: str
) -> None:
    path = messy.path / "cases.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        messy.table(path)
    refused(lmd("prepare", "table", "--table", path, "--root", messy.root, "--out", messy.out), str(path))


@pytest.mark.parametrize("header", ["#,image,label", "%id,image,label"])
def test_a_header_may_begin_as_a_comment_does(messy: Messy, header: str) -> None:
    rows = "".join(f"{row},x{row:02d}.png,{'ab'[row % 2]}\n" for row in range(24))
    assert len(messy.table(text(messy.path, f"{header}\n{rows}")).table) == 24


def test_a_json_text_in_a_field_is_no_json_file(messy: Messy) -> None:
    columns = {"[meta]": ['{"a": 1}'] * 24, **cases()}
    assert len(messy.table(written(messy.path / "cases.csv", columns)).table) == 24
