"""Any CSV table with an image and a label column, and a folder of images."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from lmd.data.images import Progress, quiet
from lmd.data.manifest import SPLITS, Dataset, refuse_used
from lmd.data.sources._common import RawOptions, existing_folder, finish_raw, without_bad_images
from lmd.errors import DataError, suggest

TITLE = "a CSV table with an image and a label column, optional split and group columns"
_GUESSES = {
    "image": ("image", "file", "filename", "file_name", "path", "image_id", "id"),
    "label": ("label", "class", "diagnosis", "dx", "target", "y"),
    "split": ("split", "set", "fold"),
    "group": ("group", "patient", "patient_id", "lesion", "lesion_id"),
}
_SPLIT_WORDS = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}


class Options(RawOptions):
    """`table` is the CSV, `root` the folder of the images; columns are guessed where not named."""

    table: Path
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None


def prepare(options: Options, out: Path, progress: Progress = quiet) -> Dataset:
    """Makes a dataset folder of a table; other columns are kept as metadata.

    Raises:
        DataError: a column or a label is missing, or an image cannot be read.
    """
    refuse_used(out)
    root = existing_folder(options.root, "the images")
    table = _named(_read(options.table), options)
    table["file"] = [_file(root, name) for name in table["file"]]
    table, bad = without_bad_images(table, root, options, progress)
    return finish_raw(
        out,
        table,
        sorted(set(table["label"])),
        options,
        bad,
        title=options.table.stem,
        licence="not stated",
        citation="not stated",
        source="table",
        image_root=str(root),
    )


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is not a table: {' '.join(str(error).split())}") from error


def _named(raw: pd.DataFrame, options: Options) -> pd.DataFrame:
    """The table under our column names; a guess must be a column, a named one has to be."""
    image = _column(raw, options.image_column, "image", options.table)
    label = _column(raw, options.label_column, "label", options.table)
    if image is None or label is None:
        what = "image" if image is None else "label"
        columns = ", ".join(map(str, raw.columns))
        raise DataError(
            f"{options.table} has no {what} column (columns: {columns}); name it with --{what}-column"
        )
    group = _column(raw, options.group_column, "group", options.table)
    split = _column(raw, options.split_column, "split", options.table)
    table = pd.DataFrame({"id": raw[image], "file": raw[image], "label": raw[label].str.strip()})
    table["group"] = raw[image] if group is None else raw[group].where(raw[group] != "", raw[image])
    if split is not None:
        table["split"] = [_split_name(word, options.table) for word in raw[split]]
    empty = table.index[table["label"] == ""]
    if len(empty):
        raise DataError(f"{options.table} has no label in row {int(empty[0]) + 2} ({len(empty)} such rows)")
    used = {image, label, group, split}
    rest = raw[[name for name in raw.columns if name not in used and name not in table.columns]]
    return pd.concat([table, rest], axis=1)


def _column(raw: pd.DataFrame, named: str | None, kind: str, path: Path) -> str | None:
    if named is not None:
        if named not in raw.columns:
            raise DataError(f"{path} has no column '{named}'{suggest(named, map(str, raw.columns))}")
        return named
    lower = {str(name).lower(): str(name) for name in raw.columns}
    return next((lower[guess] for guess in _GUESSES[kind] if guess in lower), None)


def _split_name(word: str, path: Path) -> str:
    name = _SPLIT_WORDS.get(word.strip().lower(), word.strip().lower())
    if name not in SPLITS:
        raise DataError(f"{path} has the unknown split '{word}'{suggest(word, SPLITS)}")
    return name


def _file(root: Path, name: str) -> str:
    """The path of an image below the root; a name without extension gets the one that exists."""
    name = PurePosixPath(name).as_posix()  # "./a.png" and "a.png" are one image.
    endings = ("", ".jpg", ".JPG", ".jpeg", ".png", ".PNG")
    return next((name + ending for ending in endings if (root / (name + ending)).is_file()), name)
