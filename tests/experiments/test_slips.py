"""docs/paper.md on the paper's own slips: each number of it is computed again from the tables."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from lmd.experiments.paper import load

PAGE = (Path(__file__).parents[2] / "docs" / "paper.md").read_text()

KVASIR = ("auc", "recall", "f1", "kappa", "precision")
BANDS = ("head", "medium", "tail", "bacc")
LT = ("100 auc", "100 bacc", "300 auc", "300 bacc", "500 auc", "500 bacc")


class Claim(NamedTuple):
    """Differences LMD - row as the text gives them, in the order of the columns."""

    section: str
    table: str
    row: str
    columns: tuple[str, ...]
    stated: tuple[float, ...]


CLAIMS = [
    Claim("4.3", "table1", "Seesaw (Wang et al., 2021)", KVASIR, (0.89, 8.14, 3.50, 7.44, 1.67)),
    Claim("4.3", "table1", "CC-SAM (Zhou et al., 2023)", KVASIR, (0.12, 3.87, 1.27, 5.24, 0.75)),
    Claim("4.3", "table1", "FCD (Li et al., 2022a)", KVASIR, (2.84, 5.36, 5.71, 7.30, 4.90)),
    Claim("4.3", "table1", "Decoupling (Kang et al., 2020)", KVASIR, (4.30, 6.91, 2.46, 6.36, 1.43)),
    Claim("4.4", "table2", "CC-SAM (Zhou et al., 2023)", BANDS[1:], (6.02, 7.99, 4.02)),
    Claim("4.4", "table2", "CICL (Marrakchi et al., 2021)", BANDS[1:], (9.11, 25.58, 9.98)),
    Claim("4.4", "table2", "Decoupling (Kang et al., 2020)", BANDS[1:], (12.66, 29.41, 13.73)),
    Claim("4.5", "table3", "CC-SAM (Zhou et al., 2023)", LT, (0.91, 5.39, 3.30, 4.13, 4.24, 4.22)),
    Claim("4.5", "table3", "Decoupling (Kang et al., 2020)", LT, (0.14, 5.19, 1.22, 5.50, 2.78, 4.44)),
    Claim("4.5", "table3", "Bal-Mixup (Galdran et al., 2021)", LT, (1.27, 8.84, 0.61, 9.73, 3.08, 16.11)),
    Claim("4.6", "table1", "LMD w/o RRL", KVASIR, (2.97, 6.08, 3.36, 2.50, 3.80)),
    Claim("4.6", "table2", "LMD w/o VFC", BANDS, (-8.53, 11.81, 22.14, 8.07)),
    Claim("4.6", "table3", "LMD w/o ICC", LT, (0.76, 9.51, 0.43, 7.33, 2.40, 10.47)),
    Claim("4.6", "table1", "LMD w/o FDC", ("auc", "f1", "kappa", "precision", "recall"),
          (0.28, 1.48, 4.45, 1.93, 3.38)),
]  # fmt: skip
# Between the groups of LMD itself, section 4.4: head - medium and head - tail.
GAPS = {"medium": 2.74, "tail": 3.20}


def value(table: str, row: str, column: str) -> float:
    block, _, name = column.rpartition(" ")
    return load(table).cells[row, block, name].value


def title(table: str, column: str) -> str:
    block, _, name = column.rpartition(" ")
    entry = load(table)
    return f"{entry.columns[name]}, {entry.blocks[block]}" if block else entry.columns[name]


def slips() -> list[list[str]]:
    """The rows of the page's table, in the order of the text."""
    found = []
    for section, table, row, columns, stated in CLAIMS:
        for column, told in zip(columns, stated, strict=True):
            gap = round(value(table, "LMD", column) - value(table, row, column), 2)
            if gap != told:
                found.append([section, table[-1], row, title(table, column), f"{told:.2f}", f"{gap:.2f}"])
    return found


def rows_under(header: str) -> list[list[str]]:
    lines = PAGE.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(header)) + 2
    stop = next(number for number in range(start, len(lines)) if not lines[number].startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:stop]]


def test_the_differences_that_the_text_states_are_held_against_the_tables() -> None:
    assert rows_under("| Section | Table |") == slips()
    for band, told in GAPS.items():
        gap = value("table2", "LMD", "head") - value("table2", "LMD", band)
        assert gap == pytest.approx(told, abs=1e-9)
    number = sum(len(claim.stated) for claim in CLAIMS) + len(GAPS)
    assert f"state {number} differences" in PAGE
    assert f"agree with {number - len(slips())} of them" in PAGE
    assert len(slips()) == 7  # As the page says in words.


def weighted(row: tuple[str, str], sizes: tuple[int, int, int]) -> float:
    return sum(n * value(*row, band) for n, band in zip(sizes, BANDS, strict=False)) / sum(sizes)


def all_rows() -> list[tuple[str, str]]:
    """The rows of tables 2 and 5; row 4 of the latter is LMD once more."""
    return [(table, row) for table in ("table2", "table5") for row in load(table).row_names][:-1]


def misfits(sizes: tuple[int, int, int], bound: float) -> list[tuple[str, str]]:
    return [row for row in all_rows() if abs(value(*row, "bacc") - weighted(row, sizes)) > bound]


def test_the_groups_do_not_add_up_to_the_overall_value_in_nine_rows() -> None:
    shown = [
        [row, *(f"{v:.2f}" for v in (value(table, row, "bacc"), weighted((table, row), (4, 4, 6)),
                                     weighted((table, row), (1, 1, 1))))]
        for table, row in misfits((4, 4, 6), 0.01)
    ]  # fmt: skip
    assert rows_under("| Row of table 2 |") == shown
    assert len(all_rows()) == 22
    assert len(shown) == 9
    divisions = [(h, m, 14 - h - m) for h in range(1, 13) for m in range(1, 14 - h)]
    fitting = set(all_rows()) - set(misfits((4, 4, 6), 0.01))
    assert [sizes for sizes in divisions if not fitting & set(misfits(sizes, 0.02))] == [(4, 4, 6)]


def test_the_ablations_overall_value_is_another_mean() -> None:
    rows = [("table2", row) for row in load("table2").row_names if "w/o" in row]
    assert all(abs(value(*row, "bacc") - weighted(row, (1, 1, 1))) < 0.25 for row in rows)
    lower = [value(*row, "bacc") - weighted(row, (4, 4, 6)) for row in rows]
    assert (round(min(lower), 2), round(max(lower), 2)) == (1.35, 2.35)
    assert "1.35 to 2.35 points lower" in PAGE


def test_lentigo_simplex_is_medium_in_one_figure_and_tail_in_the_next() -> None:
    assert "lentigo simplex (LS, medium)" in " ".join(load("fig4").states)
    assert "LS" in load("fig4").classes
    assert "LS" in load("fig5").classes
