"""`lmd paper`: the list, a table to read, its CSV, what is stated of a figure, and the refusals."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lmd.experiments.paper import load, names
from tests.command import Command, refused

PACKAGE = Path(__file__).parents[2] / "src/lmd/experiments/paper"
TABLES = tuple(name for name in names() if name.startswith("table"))
FIGURES = tuple(name for name in names() if name.startswith("fig"))


def test_the_command_lists_tables_and_figures(lmd: Command) -> None:
    code, out, _ = lmd("paper")
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == list(names())
    for name, line in zip(names(), lines, strict=True):
        assert (f"  {len(load(name).cells)} numbers  " if name in TABLES else "no numbers") in line


@pytest.mark.parametrize("name", TABLES)
def test_the_command_prints_a_table_to_read(name: str, lmd: Command) -> None:
    """Caption, data set, and every number in its row and column, aligned."""
    code, out, _ = lmd("paper", name)
    entry = load(name)
    assert code == 0
    assert out.startswith(f"{entry.label}: {entry.caption}\narXiv 2502.03238; data set: {entry.data};")
    for row in entry.row_names:
        (line,) = [line for line in out.splitlines() if re.match(rf"{re.escape(row)}(  |$)", line)]
        assert re.findall(r"\d\d\.\d\d(?: \+- 0\.\d\d)?", line) == [
            str(cell) for (of, _, _), cell in entry.cells.items() if of == row
        ]
    body = out.split("\n\n")[1].splitlines()
    assert len({len(line) for line in body}) == 1
    assert all(title in out for title in (*entry.columns.values(), *entry.blocks.values()))


@pytest.mark.parametrize("name", TABLES)
def test_the_command_prints_the_data_file_as_it_is(name: str, lmd: Command) -> None:
    code, out, _ = lmd("paper", name, "--csv")
    assert code == 0
    assert out == (PACKAGE / f"{name}.csv").read_text()


@pytest.mark.parametrize("name", FIGURES)
def test_the_command_prints_what_is_stated_of_a_figure(name: str, lmd: Command) -> None:
    code, out, _ = lmd("paper", name)
    assert code == 0
    assert f"data set: {load(name).data or 'not stated'}; no numbers are printed" in out
    assert all(statement in out.splitlines() for statement in load(name).states)


def test_the_command_refuses_in_one_line(lmd: Command) -> None:
    refused(lmd("paper", "tabel3"), "unknown table or figure 'tabel3'", "did you mean 'table3'")
    refused(lmd("paper", "tabel3", "--csv"), "did you mean 'table3'")
    refused(lmd("paper", "fig3", "--csv"), "fig3 is a figure", "no numbers")
    refused(lmd("paper", "--csv"), "needs the name of a table")


def test_the_command_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom lmd.cli import main\nsys.argv = ['lmd', 'paper', 'table3']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(' '.join({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "torchvision", "timm", "lightning_fabric", "pandas", "numpy", "matplotlib", "scipy"}
    assert not heavy & set(done.stdout.splitlines()[-1].split())
