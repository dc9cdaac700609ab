"""Tables of Excel and Parquet: the same as CSV; merged cells are filled, and what is hidden or lost is said aloud."""

from __future__ import annotations

import datetime
import re
import zipfile
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from openpyxl.chart import BarChart, Reference
from openpyxl.worksheet.worksheet import Worksheet

from lmd.data.dataset.reading import workbooks
from lmd.data.dataset.reading.tables import read_table
from lmd.errors import DataError
from tests.messy import Messy, cases, persons


@pytest.fixture
def messy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Messy:
    return Messy(tmp_path, caplog)


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


def test_one_column_is_no_table(tmp_path: Path) -> None:
    for name, said in (("image,label", "part it, in Excel with"), ("image", "need a column each")):
        workbook([[name], ["x,a"], ["y,b"]])[0].save(tmp_path / "cases.xlsx")
        with pytest.raises(DataError, match=rf"only one column \('{name}'\): .*{said}"):
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


def test_a_damaged_chart_beside_the_table_does_not_matter(tmp_path: Path) -> None:
    book, sheet = workbook([["image", "n"], ["x", 1]])
    chart = BarChart()
    chart.add_data(Reference(sheet, 2, 1, 2, 2))
    sheet.add_chart(chart)
    book.save(tmp_path / "a.xlsx")
    with zipfile.ZipFile(tmp_path / "a.xlsx") as old, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as new:
        for name in old.namelist():
            new.writestr(name, b"" if "drawing" in name else old.read(name))
    assert read_table(tmp_path / "b.xlsx").to_numpy().tolist() == [["x", "1"]]


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
    assert "1 cell holds an error of Excel in 'Sheet', taken as empty: #N/A in I3" in caplog.text


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
    assert "1 number in the column 'patient_id' has more than 15 digits" in caplog.text
