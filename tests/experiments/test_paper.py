"""The paper's numbers: all of them, digit by digit."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from lmd.errors import SettingsError
from lmd.experiments.paper import Entry, Printed, csv_text, load, names

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / ".." / "shared" / "paper"
NUMBERS = {"table1": 95, "table2": 76, "table3": 114, "table4": 25, "table5": 16}
SDS = {"table1": 0, "table2": 76, "table3": 0, "table4": 0, "table5": 16}
SUMS = {"table1": 6857.71, "table2": 3913.90, "table3": 8279.99, "table4": 1822.42, "table5": 961.85}
SUMS_OF_SDS = {"table2": 17.90, "table5": 3.04}
FIGURES = ("fig3", "fig4", "fig5", "fig6", "fig7")
TABLES = tuple(NUMBERS)


def source(name: str) -> str:
    path = SOURCE / name
    if not path.is_file():
        pytest.skip(f"no {path}: the paper itself does not lie beside the project")
    return path.read_text(encoding="utf-8")


# Against the paper, where it is at hand.


def expected(table: dict[str, Any]) -> dict[tuple[str, str, str], Printed]:
    """The cells of a table of tables.json, by the names that the data files use."""
    cells = {}
    for key, row in table["rows"].items():
        name = str(row.get("printed_name") or row.get("printed_number") or key)
        for place, entry in row.items():
            if isinstance(entry, dict):
                block, _, column = place.rpartition(".")
                cells[name, block, column] = Printed(entry["value"], entry.get("sd"))
    return cells


@pytest.mark.parametrize("name", TABLES)
def test_the_data_file_equals_the_transcribed_table_cell_by_cell(name: str) -> None:
    table = json.loads(source("tables.json"))[name]
    assert dict(load(name).cells) == expected(table)
    assert load(name).data == table["data"]


@pytest.mark.parametrize("name", TABLES)
def test_the_data_file_equals_the_text_of_the_paper_row_by_row(name: str) -> None:
    text = re.sub(r"</?\w+>|\$|\*\*", "", source("paper.md")).replace(r"\pm", "±")
    printed = text[text.index(f"\nTable {name[-1]}:") :].split("\n")[2:30]
    for row in load(name).row_names:
        first = f"10^{{{row[2:]}}}" if name == "table4" else row
        (line,) = [line for line in printed if line.split("\t")[0] == first]
        found = re.findall(r"(\d+\.\d\d)(?: ± (\d+\.\d\d))?", line)
        mine = [line for line in csv.DictReader(csv_text(name).splitlines()) if line["row"] == row]
        assert found == [(line["value"], line["sd"]) for line in mine]


# Without it.


def test_all_numbers_are_there() -> None:
    assert names() == (*TABLES, *FIGURES)
    assert {name: len(load(name).cells) for name in TABLES} == NUMBERS
    assert {name: sum(c.sd is not None for c in load(name).cells.values()) for name in TABLES} == SDS
    assert (sum(NUMBERS.values()), sum(SDS.values())) == (326, 92)
    assert not any(load(name).cells for name in FIGURES)


def test_the_numbers_add_up_to_what_they_did_when_they_were_held_against_the_paper() -> None:
    """A digit that changes shows, also where the paper is not at hand."""
    for name in TABLES:
        cells = load(name).cells.values()
        assert sum(cell.value for cell in cells) == pytest.approx(SUMS[name], abs=1e-6)
        assert sum(cell.sd or 0 for cell in cells) == pytest.approx(SUMS_OF_SDS.get(name, 0), abs=1e-6)


@pytest.mark.parametrize("name", TABLES)
def test_a_data_file_has_each_cell_once_and_titles_for_all(name: str) -> None:
    lines = list(csv.DictReader(csv_text(name).splitlines()))
    assert csv_text(name).startswith("row,block,column,value,sd\n")
    places = Counter((line["row"], line["block"], line["column"]) for line in lines)
    entry = load(name)
    rows, blocks = entry.row_names, list(entry.blocks) or [""]
    assert set(places) == {
        (row, block, column) for row in rows for block in blocks for column in entry.columns
    }
    assert set(places.values()) == {1}
    assert all(re.fullmatch(r"\d\d\.\d\d", line["value"]) for line in lines)
    assert all(re.fullmatch(r"|0\.\d\d", line["sd"]) for line in lines)


@pytest.mark.parametrize(
    ("name", "row", "block", "column", "text"),
    [
        ("table1", "CE", "", "recall", "47.53"),
        ("table1", "CICL (Marrakchi et al., 2021)", "", "kappa", "91.69"),
        ("table1", "LMD w/o FDC", "", "recall", "63.89"),
        ("table2", "CE", "", "bacc", "46.21 +- 0.30"),
        ("table2", "CICL (Marrakchi et al., 2021)", "", "head", "76.33 +- 0.16"),
        ("table2", "LMD", "", "tail", "60.59 +- 0.31"),
        ("table3", "CE", "100", "auc", "89.35"),
        ("table3", "FCD (Li et al., 2022a)", "300", "bacc", "56.23"),
        ("table3", "LMD", "500", "bacc", "56.88"),
        ("table4", "1e-2", "", "f1", "50.99"),
        ("table4", "1e-6", "", "auc", "98.68"),
        ("table5", "1", "", "bacc", "60.04 +- 0.22"),
        ("table5", "2", "", "bacc", "58.65 +- 0.22"),
        ("table5", "3", "", "bacc", "58.55 +- 0.20"),
        ("table5", "4", "", "bacc", "61.63 +- 0.21"),
    ],
)
def test_some_numbers_as_they_stand_in_the_paper(
    name: str, row: str, block: str, column: str, text: str
) -> None:
    assert str(load(name).cells[row, block, column]) == text


def best(entry: Entry, block: str, column: str) -> str:
    return max(entry.row_names, key=lambda row: entry.cells[row, block, column].value)


def test_the_rows_that_the_paper_prints_in_bold_are_the_best() -> None:
    for name in ("table1", "table3"):
        entry = load(name)
        assert {best(entry, block, column) for _, block, column in entry.cells} == {"LMD"}
    bands = ("head", "medium", "tail", "bacc")
    assert [best(load("table2"), "", band) for band in bands] == [
        "CICL (Marrakchi et al., 2021)",
        *3 * ["LMD"],
    ]
    assert {best(load("table4"), "", column) for column in load("table4").columns} == {"1e-4"}
    assert [best(load("table5"), "", band) for band in bands] == ["1", "4", "4", "4"]


def test_lmd_has_the_same_numbers_in_all_tables() -> None:
    for first, row, column, second, other in (
        *(("table1", "LMD", column, "table4", column) for column in ("auc", "f1", "kappa", "precision")),
        ("table1", "LMD", "recall", "table4", "bacc"),
    ):
        assert load(first).cells[row, "", column] == load(second).cells["1e-4", "", other]
    for band in ("head", "medium", "tail", "bacc"):
        assert load("table2").cells["LMD", "", band] == load("table5").cells["4", "", band]


def test_the_files_are_part_of_the_package() -> None:
    found = {file.name for file in files("lmd.experiments.paper").iterdir()}
    assert {*(f"{name}.csv" for name in TABLES), "contents.toml"} <= found
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {
        "packages": ["src/lmd"]
    }  # All files of the package: nothing excluded, none to be listed.


def test_no_number_of_the_paper_is_left_in_python() -> None:
    """Not as a literal: in the text of a note, or as a count of images, a number is something else."""
    values = {cell.value for name in TABLES for cell in load(name).cells.values()}
    for path in (ROOT / "src/lmd/experiments").rglob("*.py"):
        text = re.sub(r'"""[\s\S]*?"""', "", path.read_text())
        assert not values & {float(number) for number in re.findall(r"\b\d+\.\d+\b", text)}, path


@pytest.mark.parametrize(
    ("name", "data", "classes", "words"),
    [
        ("fig3", "ISIC-2019-LT, r = 500", [], "does not say which baseline"),
        ("fig4", "ISIC-Archive-LT", ["NV", "LS", "AMP"], "Decoupling"),
        ("fig5", "ISIC-Archive-LT", ["DF", "LK", "LS", "AN", "AMP"], "Decoupling"),
        ("fig6", "", [], "GPU hours"),
        ("fig7", "Hyper-Kvasir", [], "lambda_1 = 10"),
    ],
)
def test_what_is_stated_of_the_figures(name: str, data: str, classes: list[str], words: str) -> None:
    entry = load(name)
    assert (entry.data, list(entry.classes)) == (data, classes)
    assert words in " ".join(entry.states)


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(SettingsError, match="unknown table or figure 'tabel3'; did you mean 'table3'"):
        load("tabel3")
