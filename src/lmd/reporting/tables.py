"""Parts and tables of a page; cells with what they are sorted by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lmd.evaluation.parts import Estimate
from lmd.reporting.figures import Figure
from lmd.text import image_count


class Cell(NamedTuple):
    """What a cell shows, and the number that its column is sorted by, if it is one."""

    text: str
    value: float | None = None

    @classmethod
    def of(cls, text: str) -> Cell:
        """Returns a text as a cell, with the number that it begins with.

        >>> Cell.of("0.500 [0.250, 0.750]").value, Cell.of("melanoma").value
        (0.5, None)
        """
        try:
            return cls(text, float(text.split(" ")[0]))
        except ValueError:
            return cls(text)


class Table(NamedTuple):
    """A table: its head, its rows, and its caption."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str
    sorts: bool = True


class Part(NamedTuple):
    """A part of a report: a title, what is said first, tables, figures, and notes."""

    title: str
    lines: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()


def table_of(rows: Sequence[Sequence[str]], caption: str, *, sorts: bool = True) -> Table:
    """Returns rows of words as a table; the first is its head."""
    return Table(rows[0], [[Cell.of(word) for word in row] for row in rows[1:]], caption, sorts)


def number(estimate: Estimate) -> Cell:
    """Returns an estimate as a cell."""
    return Cell(str(estimate), estimate.value)


def counted(count: int) -> Cell:
    """Returns a number of images as a cell, marked where it is small."""
    return Cell(image_count(count), count)


def decimal(value: float, digits: int = 3) -> Cell:
    """Returns a number as a cell."""
    return Cell(f"{value:.{digits}f}", value)
