"""What a table may have in place of its header: a title, values, a name twice, or everything in one field."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lmd.data.dataset.meaning.columns import image_columns, label_columns
from lmd.data.dataset.reading.delimiters import DELIMITERS
from lmd.data.decode.files import EXTENSIONS
from lmd.errors import DataError
from lmd.text import shortened

_LOOKED_AT = 200  # Rows below the header that are compared with it.
_NAMES_ABOVE = "write a row with the names of the columns above it, such as image,label"


def refuse_title(path: Path, records: Sequence[Sequence[str]], first: int) -> None:
    """Refuses a first row that is a title: it fills one field, and the rows below it several.

    Raises:
        DataError: the rows above the header, and the way out.
    """
    filled = [sum(bool(field.strip()) for field in record) for record in records[first : first + _LOOKED_AT]]
    header = next((place for place, number in enumerate(filled) if number > 1), 0)
    if header:
        _refuse_two_delimiters(path, records[first], filled[header])
        rows = f"row {first + 1} holds" if header == 1 else f"rows {first + 1} to {first + header} hold"
        title = shortened(next(field for field in records[first] if field.strip()), 40)
        raise DataError(f"{path}: {rows} a title ('{title}'): delete what stands above the header")


def _refuse_two_delimiters(path: Path, record: Sequence[str], number: int) -> None:
    """Refuses a first row that has the fields of those below it, with another delimiter between them."""
    field = next(field for field in record if field.strip())
    if any(len(field.split(mark)) == number for mark in DELIMITERS):
        raise DataError(
            f"{path}: another character stands between the fields of its first row ('{shortened(field)}') "
            "than between those of the rows below: write the same one in all rows"
        )


def refuse_one_column(
    path: Path, header: Sequence[str], records: Sequence[Sequence[str]], workbook: bool
) -> None:
    """Refuses a table of one column, which has no place for a label: another delimiter may part its fields.

    Raises:
        DataError: the header, and the option that may mend it.
    """
    if max(map(len, records)) > 1:
        return
    told = f"{path} has only one column ('{shortened(header[0])}')"
    if any(mark in header[0] for mark in DELIMITERS):
        raise DataError(f"{told}: part it, in Excel with 'Text to Columns', or save it as CSV")
    if workbook:
        raise DataError(f"{told}: the image and the label need a column each")
    spaced = len(header[0].split()) > 1
    way = "space (any number of blanks)" if spaced else "the character between the fields"
    raise DataError(
        f"{told}: neither comma, semicolon, tab nor bar parts it; name {way} with "
        f"--delimiter{' space' if spaced else ''}"
    )


def uneven(path: Path, number: int, record: Sequence[str], header: Sequence[str], alike: bool) -> DataError:
    """Returns what is wrong with a row of another length than the header; `alike`: so are all rows."""
    way = "; fields with a delimiter in them need quotes, and --delimiter names another one"
    if record[0].lstrip().startswith("#"):
        way = "; it looks like a comment: delete it"
    elif alike:
        way = (
            ", and so have all rows below: delete a title above the header, or give each column a name (in "
            "R: write.table with col.names = NA)"
        )
    return DataError(f"{path} has {len(record)} fields in row {number}, its header has {len(header)}{way}")


def refuse_doubles(path: Path, header: Sequence[str]) -> None:
    """Refuses a name that two columns have.

    Raises:
        DataError: the name, and how many columns have it.
    """
    name, count = Counter(filter(None, header)).most_common(1)[0] if any(header) else ("", 0)
    if count > 1:
        raise DataError(f"{path} has {count} columns named '{name}'; rename or delete all but one")


def refuse_second_header(path: Path, header: Sequence[str], rows: dict[int, list[str]]) -> None:
    """Refuses a row that is the header once more, as where tables were put together.

    Raises:
        DataError: the row.
    """
    names = list(header)
    for number, row in rows.items():
        if row[0].strip() == names[0] and [" ".join(field.split()) for field in row] == names:
            raise DataError(f"{path} repeats its header in row {number}: delete this row")


def refuse_no_header(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]] = ()) -> None:
    """Refuses a first row that holds values: an image file, numbers alone, or what stands below it, too.

    Raises:
        DataError: the row, and the way out.
    """
    names = [name for name in header if name]
    file = next((name for name in names if name.lower().endswith(EXTENSIONS) and "." in name[1:]), None)
    if file is not None or (names and all(map(_is_number, names))):
        raise DataError(
            f"{path} has no header: its first row holds values ('{file or names[0]}'); {_NAMES_ABOVE}"
        )
    alike = _like_those_below(header, rows[:_LOOKED_AT])
    if alike and 2 * len(alike) >= len(names) and not _has_usual_name(names):
        raise DataError(
            f"{path} may have no header: '{alike[0]}' in its first row is like the values below it; "
            f"{_NAMES_ABOVE}, or rename this column"
        )


def _like_those_below(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The cells of the first row that are a value below, or have the shape of all values below."""
    found = []
    for place, name in enumerate(header):
        below = [row[place].strip() for row in rows if place < len(row)]
        shape = _shape(name)
        shaped = len(below) > 1 and shape.count("9") > 2 and all(_shape(cell) == shape for cell in below)
        if name and (shaped or _is_number(name) or (name in below and "" not in below)):
            found.append(name)
    return found if not all(map(_is_number, found)) else []


def _shape(text: str) -> str:
    """A text with every digit as 9."""
    return re.sub(r"\d", "9", text)


def _has_usual_name(names: Sequence[str]) -> bool:
    return bool(image_columns(names)) or any(len(name) > 1 for name in label_columns(names))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
