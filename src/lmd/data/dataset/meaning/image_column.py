"""Which column of a table names the images: by its name, and by the files that there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lmd.data.dataset.meaning.columns import image_columns
from lmd.data.dataset.meaning.locate import ImageIndex
from lmd.errors import DataError


def choose_image_column(raw: pd.DataFrame, names: Sequence[str], index: ImageIndex, path: Path) -> str:
    """Returns the column that names the images: the first by its name whose images are all there.

    Where none has all of its images, the first by its name is taken.

    Raises:
        DataError: there is none, there are two of one kind, or two name different files in a row.
    """
    kinds = image_columns(names)
    if not kinds:
        return _by_files(raw, names, index, path)
    double = next((kind for kind in kinds if len(kind) > 1), None)
    if double is not None:
        raise DataError(
            f"{path} has the columns '{double[0]}' and '{double[1]}'; name one with --image-column"
        )
    if len(kinds) == 1:
        return kinds[0][0]
    files = {name: [place.file for place in index.places(raw[name].tolist())] for [name] in kinds}
    chosen = next((name for name in files if all(files[name])), next(iter(files)))
    for name, found in files.items():
        pairs = zip(raw.index, files[chosen], found, strict=True)
        row = next((row for row, mine, other in pairs if mine and other and mine != other), None)
        if row is not None:
            raise DataError(
                f"{path} has the columns '{chosen}' and '{name}', and they name different images in row "
                f"{row}; name one with --image-column"
            )
    return chosen


def _by_files(raw: pd.DataFrame, names: Sequence[str], index: ImageIndex, path: Path) -> str:
    """The one column of another name whose values are all images below the root, each another one."""
    fitting: list[str] = []
    for name in names:
        files = [place.file for place in index.places(raw[name].tolist())]
        if all(files) and len(set(files)) == len(files):
            fitting.append(name)
    if len(fitting) == 1:
        return fitting[0]
    columns = ", ".join(map(str, raw.columns))
    raise DataError(f"{path} has no image column (columns: {columns}); name it with --image-column")
