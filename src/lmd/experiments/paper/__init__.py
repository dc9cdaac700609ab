"""The numbers that arXiv 2502.03238 prints, and what it states of its tables and figures.

`tableN.csv` holds the numbers of a table, `contents.toml` the words. Nothing heavy is imported.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from lmd.errors import SettingsError, suggest

ARXIV = "arXiv 2502.03238"
# Where a number stands in a table: (row, block, column), each as in the CSV; the block is often empty.
Place = tuple[str, str, str]


@dataclass(frozen=True)
class Printed:
    """A number of the paper in percent, and what stands after its +- (None where nothing does)."""

    value: float
    sd: float | None = None

    def __str__(self) -> str:
        """Returns the number as printed.

        >>> str(Printed(71.75, 0.2)), str(Printed(47.53))
        ('71.75 +- 0.20', '47.53')
        """
        return f"{self.value:.2f}" if self.sd is None else f"{self.value:.2f} +- {self.sd:.2f}"


@dataclass(frozen=True)
class Entry:
    """A table or figure of the paper.

    Attributes:
        name: "table1" to "table5" or "fig3" to "fig7".
        caption: what it shows.
        data: the data set; empty where the paper names none.
        states: further statements of the paper's text, and what it leaves open.
        classes: the classes that a figure shows, by the data set's abbreviations.
        first: the title of the column of rows.
        columns: a title for each column of the CSV.
        blocks: a title for each block of columns; empty where there is one block only.
        rows: a description of rows whose printed name is a bare number.
        cells: the printed numbers; a figure has none.
    """

    name: str
    caption: str
    data: str
    states: Sequence[str] = ()
    classes: Sequence[str] = ()
    first: str = ""
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    blocks: Mapping[str, str] = field(default_factory=dict[str, str])
    rows: Mapping[str, str] = field(default_factory=dict[str, str])
    cells: Mapping[Place, Printed] = field(default_factory=dict[Place, Printed])

    @property
    def is_table(self) -> bool:
        """Whether it prints numbers."""
        return bool(self.cells)

    @property
    def label(self) -> str:
        """The name as the paper writes it.

        >>> load("fig3").label
        'Figure 3'
        """
        return f"{'Table' if self.is_table else 'Figure'} {self.name[-1]}"

    @property
    def row_names(self) -> tuple[str, ...]:
        """The names of the rows as printed, from top to bottom."""
        return tuple(dict.fromkeys(row for row, _, _ in self.cells))


def names() -> tuple[str, ...]:
    """Returns the names of all tables and figures that hold results."""
    return tuple(_contents())


@cache
def load(name: str) -> Entry:
    """Returns a table or figure with its numbers.

    Raises:
        SettingsError: no such table or figure; the nearest name is offered.

    >>> load("table3").cells["LMD", "500", "bacc"]
    Printed(value=56.88, sd=None)
    """
    if name not in _contents():
        raise SettingsError(f"unknown table or figure '{name}'{suggest(name, names())}")
    return Entry(name, cells=_cells(name), **_contents()[name])


def csv_text(name: str) -> str:
    """Returns the data file of a table as it is, with the columns row, block, column, value and sd."""
    return files(__name__).joinpath(f"{name}.csv").read_bytes().decode()


@cache
def _contents() -> dict[str, dict[str, Any]]:
    return tomllib.loads(files(__name__).joinpath("contents.toml").read_text(encoding="utf-8"))


def _cells(name: str) -> dict[Place, Printed]:
    if not name.startswith("table"):
        return {}
    return {
        (line["row"], line["block"], line["column"]): Printed(
            float(line["value"]), float(line["sd"]) if line["sd"] else None
        )
        for line in csv.DictReader(csv_text(name).splitlines())
    }
