"""Parquet files as rows of values: also those of Hugging Face, whose images are inside of the file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lmd.data.dataset.meaning.columns import image_columns
from lmd.data.dataset.reading.long_numbers import check_long_numbers
from lmd.data.dataset.reading.table_kinds import MOST_BYTES, MOST_CELLS, too_large
from lmd.errors import DataError

_log = logging.getLogger(__name__)

_INDEX = "__index_level_"  # What pandas calls an index without a name.


def parquet_rows(path: Path) -> list[list[Any]]:
    """Returns the names of the columns and the rows; an index with a name, or of texts, is a column.

    Raises:
        DataError: the images are inside of the file, or numbers have lost digits.
    """
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(path)
    said = file.metadata
    unpacked = sum(said.row_group(number).total_byte_size for number in range(said.num_row_groups))
    if said.num_rows * max(1, said.num_columns) > MOST_CELLS or unpacked > MOST_BYTES:
        raise too_large(path, f"{said.num_rows:,} rows and {said.num_columns:,} columns, {unpacked:,} bytes")
    table = file.read()
    read = (
        (name, column.to_pylist()) for name, column in zip(table.column_names, table.columns, strict=True)
    )
    columns = [(_name(name), _plain(values)) for name, values in read if not _is_numbering(name, values)]
    columns = _without_binary(path, columns)
    for name, values in columns:
        check_long_numbers(path, name, [value for value in values if isinstance(value, float)])
    rows = zip(*(values for _, values in columns), strict=True)
    return [[name for name, _ in columns], *map(list, rows)]


def _name(name: str) -> str:
    return "index" + name[len(_INDEX) :].strip("0_") if name.startswith(_INDEX) else name


def _is_numbering(name: str, values: list[Any]) -> bool:
    """Whether a column is an index without a name that only numbers the rows."""
    return name.startswith(_INDEX) and all(isinstance(value, int) for value in values)


def _plain(values: list[Any]) -> list[Any]:
    """Values of a column; where each image is a pair of bytes and a path, and has no bytes, its path."""
    pairs = [value for value in values if isinstance(value, dict) and set(value) == {"bytes", "path"}]
    if pairs and all(value["bytes"] is None for value in pairs):
        return [value["path"] if isinstance(value, dict) else value for value in values]
    return values


def _without_binary(path: Path, columns: list[tuple[str, list[Any]]]) -> list[tuple[str, list[Any]]]:
    """The columns without those of binary data; one that holds the images is refused."""
    binary = [name for name, values in columns if any(map(_is_binary, values))]
    left = [(name, values) for name, values in columns if name not in binary]
    if binary and not image_columns([name for name, _ in left]):
        raise DataError(
            f"{path} holds the images themselves (column '{binary[0]}'), not their names: write each to "
            "a file, in Python with pathlib.Path(name).write_bytes(...), and the names of the files into a "
            "column 'image'"
        )
    if binary:
        _log.warning("%s: binary data is left out (columns: %s)", path, ", ".join(binary))
    return left


def _is_binary(value: Any) -> bool:
    """Whether a value is or holds bytes that are no text."""
    if isinstance(value, dict):
        return any(map(_is_binary, value.values()))
    if isinstance(value, list):
        return any(map(_is_binary, value))
    if not isinstance(value, bytes):
        return False
    try:
        return not "".join(value.decode().split()).isprintable()
    except UnicodeError:
        return True
