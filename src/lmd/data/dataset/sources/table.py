"""Any CSV table with an image and a label column, and a folder of images."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd

from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.finish import finish_raw
from lmd.data.dataset.manifest import Dataset
from lmd.data.dataset.options import FoldOptions
from lmd.data.dataset.output import refuse_used
from lmd.data.dataset.tables import read_table
from lmd.data.dataset.usable import Skipped, existing_folder, refuse_twins, without_bad_images
from lmd.data.decode.files import EXTENSIONS, printable
from lmd.errors import DataError, suggest
from lmd.parallel import Steps, quiet

TITLE = "a CSV table with an image and a label column, optional split and group columns"
_GUESSES = {
    "image": ("image", "file", "filename", "file_name", "path", "image_id", "id"),
    "label": ("label", "class", "diagnosis", "dx", "target", "y"),
    "split": ("split", "set"),
    "group": ("group", "patient", "patient_id", "lesion", "lesion_id"),
}
_SPLIT_WORDS = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}
_OURS = ("id", "file", "label", "group", "split")


class Options(FoldOptions):
    """`table` is the CSV, `root` the folder of the images; columns are guessed where not named."""

    root: Path
    table: Path
    split: Literal["image", "group", "lesion", "patient"] = "group"
    encoding: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    group_column: str | None = None


def prepare(options: Options, out: Path, progress: Steps = quiet) -> Dataset:
    """Makes a dataset folder of a table; other columns are kept as metadata.

    Raises:
        DataError: a column or a label is missing, labels differ only by case, or an image cannot be read,
            lies outside of the root or is listed twice.
    """
    refuse_used(out)
    root = existing_folder(options.root, "the images")
    table = _named(read_table(options.table, encoding=options.encoding), options)
    table["file"] = [_file(root, name, options.table, row) for row, name in table["file"].items()]
    table, unsound = _without_unsound_rows(table, options)
    refuse_twins(table["label"], f"{options.table}: labels")
    classes = sorted(set(table["label"]))
    table, bad = without_bad_images(table, root, options, progress)
    return finish_raw(
        out,
        table,
        classes,
        options,
        unsound + bad,
        folds=options.folds,
        tables=[options.table],
        title=options.table.stem,
        licence="not stated",
        citation="not stated",
        source="table",
        image_root=str(root),
    )


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
    given = raw[image] if group is None else raw[group].str.strip()
    table["group"] = given.where(given != "", raw[image])
    if split is not None:
        table["split"] = [_known_split(word, options.table) for word in raw[split]]
    used = {image, label, group, split}
    rest = raw[[name for name in raw.columns if name not in used and name not in _OURS]]
    return pd.concat([table, rest], axis=1)


def _column(raw: pd.DataFrame, named: str | None, kind: str, path: Path) -> str | None:
    if named is not None:
        if named not in raw.columns:
            raise DataError(f"{path} has no column '{named}'{suggest(named, map(str, raw.columns))}")
        return named
    for guess in _GUESSES[kind]:
        found = [str(name) for name in raw.columns if str(name).lower() == guess]
        if len(found) > 1:
            raise DataError(
                f"{path} has the columns '{found[0]}' and '{found[1]}'; name one with --{kind}-column"
            )
        if found:
            return found[0]
    return None


def split_name(word: str) -> str:
    """Returns the split that a word means: "Training" is train; other words are returned as they are.

    >>> split_name("Validation")
    'val'
    """
    word = word.strip().lower()
    return _SPLIT_WORDS.get(word, word)


def _known_split(word: str, path: Path) -> str:
    name = split_name(word)
    if name and name not in SPLITS:
        raise DataError(f"{path} has the unknown split '{word}'{suggest(word, SPLITS)}")
    return name


def _file(root: Path, name: str, path: Path, row: object) -> str:
    """The path of an image below the root; a name without extension gets the one that exists."""
    given = PurePosixPath(name)  # "./a.png" and "a.png" are one image.
    if given.is_absolute() and given.is_relative_to(root):
        given = given.relative_to(root)
    if given.is_absolute() or ".." in given.parts:
        raise DataError(f"{path} names an image outside of {root} in row {row}: '{printable(name)}'")
    plain = given.as_posix()
    forms = [plain, plain.strip(), plain.strip().replace("\\", "/")]
    endings = ["", *(form for ending in EXTENSIONS for form in (ending, ending.upper()))]
    names = (form + ending for form in forms for ending in endings)
    return next((name for name in names if (root / name).is_file()), plain)


def _without_unsound_rows(table: pd.DataFrame, options: Options) -> tuple[pd.DataFrame, Skipped]:
    """Leaves out rows that lack a value, and images that are listed again.

    Raises:
        DataError: there is such a row and `skip_bad` was not given.
    """
    reasons: dict[int, str] = {}
    for column, word in (("id", "image"), ("label", "label"), ("split", "split")):
        if column in table.columns:
            reasons |= dict.fromkeys(table.index[table[column].str.strip() == ""], f"has no {word}")
    reasons |= _repeats(table.drop(index=list(reasons)))
    if reasons and not options.skip_bad:
        row = min(reasons)
        raise DataError(
            f"{options.table} {reasons[row]} in row {row} ({len(reasons)} such rows; leave them out with "
            "--skip-bad)"
        )
    listed = [(str(table.at[row, "file"]), f"{reason} in row {row}") for row, reason in reasons.items()]
    return table.drop(index=list(reasons)).reset_index(drop=True), listed


def _repeats(table: pd.DataFrame) -> dict[int, str]:
    """The rows of images that are listed again; all of an image's rows where its labels contradict."""
    reasons: dict[int, str] = {}
    for file, rows in table[table["file"].duplicated(keep=False)].groupby("file", sort=False):
        if rows["label"].nunique() > 1:
            words = " and ".join(f"'{label}'" for label in rows["label"].unique())
            reasons |= dict.fromkeys(rows.index, f"gives image '{printable(str(file))}' the labels {words}")
        else:
            again = f"lists image '{printable(str(file))}' again (first: row {rows.index[0]})"
            reasons |= dict.fromkeys(rows.index[1:], again)
    return reasons
