"""What is given for a table and is none: one line that says what it is, and the way out."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest

from lmd.data.dataset.reading.tables import read_table
from lmd.errors import DataError
from tests.command import Command, refused
from tests.messy import Messy, cases, written


@pytest.fixture
def messy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Messy:
    return Messy(tmp_path, caplog)


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
    "two delimiters": (b"image,label\nx00.png\ta\nx01.png\tb\n", "another character stands between .*'image,label'"),
    "pasted": (b'"image,label"\n"x00.png,a"\n"x01.png,b"\n', r"one column \('image,label'\): part it, in Excel"),
    "inner quotes": (b'image,label,note\nx00.png,a,"a "b" c"\n', "a quote inside of a quoted field in row 2"),
    "backslash": (b'image,label,note\n\nx0.png,a,"a \\"b\\" c"\n', "a quoted field in row 3: write each"),
    "open quote": (b'image,label\nx00.png,a\nx01.png,"b\n', "a quote in row 3 is not closed"),
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
    (messy.path / "cases.csv").write_text(f"{header}\n{rows}")
    assert len(messy.table(messy.path / "cases.csv").table) == 24


def test_a_json_text_in_a_field_is_no_json_file(messy: Messy) -> None:
    columns = {"[meta]": ['{"a": 1}'] * 24, **cases()}
    assert len(messy.table(written(messy.path / "cases.csv", columns)).table) == 24


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.xlsx", b"image,label\n", "is no Excel file but a text: name it with the ending .csv"),
        ("a.parquet", b"image,label\n", "is no Parquet file but a text"),
        ("a.xlsx", OLE, "is protected by a password or an old Excel file"),
        ("a.xlsx", zipped("mimetype", mimetype=ODS), "an OpenDocument spreadsheet"),
        ("a.xlsx", zipped("word/document.xml"), "a Word document"),
        ("a.parquet", zipped("xl/workbook.xml"), "an Excel file.*the ending .xlsx"),
        ("a.xlsx", b"", "is empty"),
    ],
)
def test_a_file_with_a_wrong_ending_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx", "a.parquet"])
def test_a_folder_is_no_table(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=r"cannot read .*: Is a directory"):
        read_table(tmp_path / name)
