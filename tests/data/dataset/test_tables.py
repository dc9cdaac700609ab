"""Tables of every kind: the delimiter that fits all rows, Excel and Parquet, and one line for what is no table."""

from __future__ import annotations

import bz2
import datetime
import gzip
import io
import json
import pickle
import re
import shutil
import zipfile
from pathlib import Path

import openpyxl
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from openpyxl.worksheet.worksheet import Worksheet

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


# What is found in texts that are sound tables.


MARKED = "image,label\nä.png,a\nb.png,b\n"


@pytest.mark.parametrize("named", [None, "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize(
    "written_as", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
def test_a_byte_order_mark_wins_over_every_name(tmp_path: Path, written_as: str, named: str | None) -> None:
    marked = MARKED if written_as in ("utf-8-sig", "utf-16", "utf-32") else "\ufeff" + MARKED
    (tmp_path / "cases.csv").write_bytes(marked.encode(written_as))
    assert read_table(tmp_path / "cases.csv", encoding=named)["image"].tolist() == ["ä.png", "b.png"]


def test_a_mark_that_does_not_fit_gives_way_to_the_named_encoding(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_bytes(b"\xef\xbb\xbf" + MARKED.encode("cp1252"))
    assert read_table(tmp_path / "cases.csv", encoding="cp1252")["image"][2] == "ä.png"


@pytest.mark.parametrize("end", ["\x1a", "\x1a\r\n", "\n\n"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_ends_of_lines_and_of_the_file(tmp_path: Path, line_end: str, end: str) -> None:
    (tmp_path / "cases.csv").write_bytes(("image,label\nx,a\ny,b\n".replace("\n", line_end) + end).encode())
    assert read_table(tmp_path / "cases.csv").to_numpy().tolist() == [["x", "a"], ["y", "b"]]


def test_names_of_columns_are_one_line(tmp_path: Path) -> None:
    assert list(read_table(text(tmp_path, '"patient\n id ",label\n1,a\n2,b\n')).columns) == [
        "patient id",
        "label",
    ]


def test_any_number_of_blanks_is_one_delimiter(tmp_path: Path) -> None:
    path = text(tmp_path, 'image     label \r\n x00.png  a\r\nx01.png   "b c"\r\n')
    assert read_table(path, delimiter="space").to_numpy().tolist() == [["x00.png", "a"], ["x01.png", "b c"]]


def test_ids_of_covidx_without_a_header_are_found_with_blanks(tmp_path: Path) -> None:
    path = text(tmp_path, "379 1e64_jumbo.jpeg negative cohen\n380 sars.jpg positive cohen\n")
    with pytest.raises(DataError, match=r"only one column .*--delimiter space"):
        read_table(path)
    with pytest.raises(DataError, match=r"no header: .*\('1e64_jumbo.jpeg'\)"):
        read_table(path, delimiter="space")


@pytest.mark.parametrize(
    "content",
    [
        "Bild,Diagnose,biopsie\nx00,a,biopsie\nx01,b,keine\n",
        "image,label,benign\nx00,benign,benign\nx01,b,benign\n",
        "case,2019,2020\n1,1200,1300\n2,1100,1000\n",
    ],
)
def test_a_header_may_share_a_word_with_its_column(tmp_path: Path, content: str) -> None:
    assert len(read_table(text(tmp_path, content))) == 2


# What only Excel has.


def workbook(rows: list[list[object]]) -> tuple[openpyxl.Workbook, Worksheet]:
    book = openpyxl.Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    for row in rows:
        sheet.append(row)
    return book, sheet


def rows_of(columns: dict[str, list[str]]) -> list[list[object]]:
    return [list(columns), *map(list, zip(*columns.values(), strict=True))]


def test_merged_cells_have_their_value_in_each_row(messy: Messy) -> None:
    names = [name if row % 4 == 0 else "" for row, name in enumerate(persons())]
    book, sheet = workbook(rows_of(cases(patient_id=names)))
    for row in range(2, 26, 4):
        sheet.merge_cells(start_row=row, end_row=row + 3, start_column=3, end_column=3)
    book.save(messy.path / "cases.xlsx")
    assert messy.table(messy.path / "cases.xlsx").table["group"].tolist() == persons()
    assert "6 merged ranges of cells" in messy.told()


def test_merged_cells_go_over_columns_too(tmp_path: Path) -> None:
    book, sheet = workbook([["image", "a", "b"], ["x", "one", None], ["y", "two", "three"]])
    sheet.merge_cells("B2:C2")
    book.save(tmp_path / "cases.xlsx")
    assert read_table(tmp_path / "cases.xlsx").to_numpy().tolist() == [
        ["x", "one", "one"],
        ["y", "two", "three"],
    ]


@pytest.mark.parametrize(
    ("rows", "merged", "said"),
    [
        (
            [["Study of 2024"], ["image", "label"], ["x", "a"]],
            "A1:B1",
            "row 1 holds a title .'Study of 2024'",
        ),
        ([["Study"], [None], ["image", "label"], ["x", "a"]], "A1:B2", "rows 1 to 2 hold a title"),
        (
            [["image", "age", None], [None, "years", "months"], ["x", 1, 2]],
            "A1:A2",
            "header is merged with rows",
        ),
        ([["image", "age", None], ["x", 1, 2]], "B1:C1", "2 columns named 'age'"),
    ],
)
def test_a_merged_header_is_refused(tmp_path: Path, rows: list[list[object]], merged: str, said: str) -> None:
    book, sheet = workbook(rows)
    sheet.merge_cells(merged)
    book.save(tmp_path / "cases.xlsx")
    with pytest.raises(DataError, match=said):
        read_table(tmp_path / "cases.xlsx")


def test_what_excel_hides_is_used_and_said(messy: Messy) -> None:
    book, sheet = workbook(rows_of(cases(patient_id=persons())))
    for row in (3, 4, 30):
        sheet.row_dimensions[row].hidden = True
    sheet.column_dimensions["C"].hidden = True
    notes = book.create_sheet("notes")
    notes.append(["a", "b"])
    notes.sheet_state = "hidden"
    book.save(messy.path / "cases.xlsx")
    assert messy.table(messy.path / "cases.xlsx").table["group"].tolist() == persons()
    assert "2 rows of 'Sheet' are hidden in Excel and used all the same (the first is row 3)" in messy.told()
    assert "columns of 'Sheet' are hidden in Excel and used all the same: patient_id" in messy.told()
    with pytest.raises(DataError, match="no rows below its header"):
        read_table(messy.path / "cases.xlsx", sheet="notes")


def test_a_hidden_sheet_is_used_where_no_other_is_filled(tmp_path: Path) -> None:
    book, _ = workbook([])
    for name in ("cases", "notes"):
        sheet = book.create_sheet(name)
        sheet.sheet_state = "veryHidden"
        if name == "cases":
            sheet.append(["image", "label"])
            sheet.append(["x", "a"])
    book.save(tmp_path / "cases.xlsx")
    assert read_table(tmp_path / "cases.xlsx").to_numpy().tolist() == [["x", "a"]]


def test_formulas_without_values_are_named(messy: Messy) -> None:
    columns = cases()
    columns["label"] = [f'=IF(MOD(ROW(),2)=0,"{a}","b")' for a in columns["label"]]
    workbook(rows_of(columns))[0].save(messy.path / "cases.xlsx")
    with pytest.raises(
        DataError, match=r"'label' has formulas without stored values \(row 2, 24 cells\): open"
    ):
        messy.table(messy.path / "cases.xlsx")


def test_a_formula_that_gives_no_text_is_an_empty_cell(tmp_path: Path) -> None:
    workbook([["image", "label", "note"], ["x", "a", '=""'], ["y", "b", "c"]])[0].save(tmp_path / "a.xlsx")
    stored = b'<c r="C2" t="str"><f>""</f><v></v></c>'
    with zipfile.ZipFile(tmp_path / "a.xlsx") as old, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as new:
        for name in old.namelist():
            new.writestr(name, re.sub(rb'<c r="C2".*?</c>', stored, old.read(name)))
    assert read_table(tmp_path / "b.xlsx")["note"].tolist() == ["", "c"]


def test_cells_of_excel_are_the_texts_of_a_csv_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    row = [
        "x",
        True,
        0.5,
        7.0,
        datetime.datetime(2026, 1, 2),
        datetime.datetime(2026, 1, 2, 3, 4),
        "007",
        "#N/A",
    ]
    book, sheet = workbook([[None, *"abcdefgh"], [None] * 9, [None, *row]])
    sheet["D3"].number_format = "0%"
    sheet["XFD1048576"].number_format = "0%"
    book.save(tmp_path / "cases.XLSX")
    table = read_table(tmp_path / "cases.XLSX")
    assert table.loc[3].tolist() == ["x", "True", "0.5", "7", "2026-01-02", "2026-01-02 03:04:00", "007", ""]
    assert "1 cells of 'Sheet' hold an error of Excel and count as empty: #N/A in I3" in caplog.text


def test_numbers_that_lost_their_digits_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def read(*ids: object) -> list[str]:
        rows = [["image", "patient_id"], *([f"x{row}", each] for row, each in enumerate(ids))]
        workbook([list(row) for row in rows])[0].save(tmp_path / "cases.xlsx")
        return read_table(tmp_path / "cases.xlsx")["patient_id"].tolist()

    with pytest.raises(
        DataError, match=r"2 numbers in the column 'patient_id' have lost their digits.*as text"
    ):
        read(12345678901234500, 1.23456789012346e16)
    assert read(123456789012345, 123456789012340) == ["123456789012345", "123456789012340"]
    assert not caplog.records
    with pytest.raises(DataError, match="2 numbers in the column"):
        read(12345678901234567, 12345678901234568)  # The 17th digit is not written.
    assert read(1234567890123456, 5) == ["1234567890123456", "5"]
    assert "1 numbers in the column 'patient_id' have more than 15 digits" in caplog.text


# What only Parquet has.


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
    table = read_table(parquet(tmp_path, image=pyarrow.array(paths, struct), label=[b"naevus", "ä".encode()]))
    assert table.to_numpy().tolist() == [["x0.png", "naevus"], ["x1.png", "ä"]]


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
    frame.iloc[[1, 0]].reset_index(drop=True).iloc[[1, 0]].to_parquet(tmp_path / "cases.parquet")
    assert "index" not in read_table(tmp_path / "cases.parquet").columns


def test_folders_named_as_values_are_no_columns(tmp_path: Path) -> None:
    (tmp_path / "label=a").mkdir()
    path = parquet(tmp_path / "label=a", image=["x", "y"], label=["m", "n"])
    assert read_table(path)["label"].tolist() == ["m", "n"]


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
