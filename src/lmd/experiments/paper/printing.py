"""What `lmd paper` prints: the list of tables and figures, a table, what is stated of a figure, or a CSV."""

from __future__ import annotations

from lmd.errors import SettingsError
from lmd.experiments.paper import ARXIV, Entry, csv_text, load, names
from lmd.text import in_columns


def shown(name: str | None = None, as_csv: bool = False) -> str:
    """Returns the text for a table or figure, or the list of all of them.

    Raises:
        SettingsError: an unknown name, or a CSV of what has no numbers.
    """
    if as_csv:
        return _csv(name)
    lines = [_overview_line(load(each)) for each in names()] if name is None else _page(load(name))
    return "\n".join(lines) + "\n"


def _csv(name: str | None) -> str:
    if name is None:
        raise SettingsError("--csv needs the name of a table, as in 'lmd paper table3 --csv'")
    if not load(name).is_table:
        raise SettingsError(f"{name} is a figure, and the paper prints no numbers in it; --csv is for tables")
    return csv_text(name)


def _overview_line(entry: Entry) -> str:
    content = f"{len(entry.cells)} numbers" if entry.is_table else "no numbers"
    return f"{entry.name:6}  {content:11}  {entry.caption}"


def _page(entry: Entry) -> list[str]:
    """Caption, data set, numbers and statements."""
    unit = "values in percent" if entry.is_table else "no numbers are printed"
    head = [f"{entry.label}: {entry.caption}"]
    head.append(f"{ARXIV}; data set: {entry.data or 'not stated'}; {unit}")
    table = ["", *_table(entry)] if entry.is_table else []
    return [*head, *table, "", *entry.states]


def _table(entry: Entry) -> list[str]:
    """The numbers in aligned columns; a line above them names the blocks where there are several."""
    columns = list(dict.fromkeys((block, column) for _, block, column in entry.cells))
    head = [entry.first, *(entry.columns[column] for _, column in columns)]
    rows = [[_row_title(entry, row), *_numbers(entry, row, columns)] for row in entry.row_names]
    if entry.blocks:
        rows.insert(0, head)
        head = ["", *(entry.blocks[block] for block, _ in columns)]
    return in_columns([head, *rows], numbers=True)


def _row_title(entry: Entry, row: str) -> str:
    return f"{row}  {entry.rows[row]}" if row in entry.rows else row


def _numbers(entry: Entry, row: str, columns: list[tuple[str, str]]) -> list[str]:
    return [str(entry.cells[row, block, column]) for block, column in columns]
