"""Any table with an image and a label column, and a folder of images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lmd.data.dataset.finish import finish_raw
from lmd.data.dataset.manifest import Dataset
from lmd.data.dataset.meaning import grouping
from lmd.data.dataset.meaning.columns import columns_line, is_named
from lmd.data.dataset.meaning.given_splits import given_splits
from lmd.data.dataset.meaning.grouping import Grouping
from lmd.data.dataset.meaning.image_column import choose_image_column
from lmd.data.dataset.meaning.labels import labels_of, refuse_similar, tell_missing_words
from lmd.data.dataset.meaning.locate import ImageIndex
from lmd.data.dataset.meaning.suspects import unused_people
from lmd.data.dataset.meaning.unsound import without_unsound_rows
from lmd.data.dataset.options import ColumnOptions, Names
from lmd.data.dataset.output import refuse_used
from lmd.data.dataset.reading.tables import read_table
from lmd.data.dataset.usable import existing_folder, without_bad_images
from lmd.errors import DataError
from lmd.parallel import Steps, quiet
from lmd.settings import Tree

TITLE = "a table (CSV, Excel, Parquet) of images and their labels"
EXAMPLES = (
    "lmd prepare table --table cases.csv --root IMAGES --out DATA",
    "lmd prepare table --table a.csv --root DIR --group-column person --out DATA",
)
_log = logging.getLogger(__name__)

_OURS = ("id", "file", "label", "group", "split")


class Options(ColumnOptions):
    """`table` is the file, `root` the folder of the images; columns are found by their names."""

    root: Path
    """folder that holds the images, at any depth"""
    table: Path
    """the table: CSV with any usual delimiter, .xlsx or .parquet"""
    encoding: str | None = None
    """encoding of a CSV file that is no Unicode text, such as cp1252"""
    delimiter: str | None = None
    """delimiter of a CSV file: a character, or tab, comma, semicolon, bar, space (found without it)"""
    sheet: str = ""
    """sheet of an Excel file that has several"""
    image_column: str | None = None
    """column that names the image"""
    label_column: str | None = None
    """column that holds the class"""
    label_columns: Names = ()
    """columns that mark one class each with 1, with commas between them"""
    unmarked: str = ""
    """class of rows that none of the columns of classes marks"""


def prepare(options: Options, out: Path, progress: Steps = quiet) -> Dataset:
    """Makes a dataset folder of a table; other columns are kept as metadata.

    Raises:
        DataError: a column or a label is missing or could be two, labels or ids are one written in two ways,
            or an image cannot be read, lies outside of the root, fits several files or is listed twice.
    """
    refuse_used(out)
    root = existing_folder(options.root, "the images")
    raw = read_table(
        options.table, encoding=options.encoding, delimiter=options.delimiter, sheet=options.sheet
    )
    index = ImageIndex(root, options.exclude)
    table, found, columns = named(raw, options, index)
    refuse_similar(table["label"][~table["label"].isin(["", *options.drop_label])], options.table)
    table, unsound = without_unsound_rows(table, index, options)
    index.tell_unlisted([*table["file"], *(file for file, _ in unsound)])
    tell_missing_words(table["label"], "--drop-label")
    classes = sorted(set(table["label"]))
    table, bad = without_bad_images(table, root, options, progress)
    _log.warning("%s", columns_line(columns))
    grouping.tell(found, table["group"])
    return finish_raw(
        out,
        table,
        classes,
        options,
        unsound + bad,
        {"columns": columns},
        folds=options.folds,
        tables=[options.table],
        title=options.table.stem,
        licence="not stated",
        citation="not stated",
        source="table",
        image_root=str(root),
        grouping=found,
    )


def named(
    raw: pd.DataFrame, options: Options, index: ImageIndex | None
) -> tuple[pd.DataFrame, Grouping, Tree]:
    """Returns the table under our names of columns, whom its images belong to, and the columns used.

    The `index` of the images is needed where no option names their column.
    """
    path = options.table
    left = _left(raw, options)
    chosen = [name for name in (options.label_column, options.split_column, options.group_column) if name]
    free = [name for name in left if name not in (*chosen, *options.label_columns)]
    image = options.image_column or (choose_image_column(raw, free, index, path) if index else "")
    free = [name for name in left if name not in (*chosen, image)]
    splits = given_splits(raw, free, options.split_column, options.split_map, path)
    free = [name for name in free if splits is None or name not in splits[1]]
    labels, marked = labels_of(raw, free, options.label_column, options.label_columns, options.unmarked, path)
    free = [name for name in free if name not in marked]
    table = pd.DataFrame({"id": raw[image], "file": raw[image], "label": labels})
    table["group"], found = _groups(raw, raw[image], labels, free, options)
    if splits is not None:
        table["split"] = splits[0]
    used: Tree = {
        "image": [image],
        "label": marked,
        "split": splits[1] if splits else [],
        "group": found.columns,
    }
    taken = {
        image,
        *marked,
        *(splits[1] if splits else ()),
        *found.columns[:1],
    }  # Finer groups stay metadata.
    rest = raw[[name for name in raw.columns if name not in taken and name not in _OURS]]
    return pd.concat([table, rest], axis=1), found, {kind: names for kind, names in used.items() if names}


def _left(raw: pd.DataFrame, options: Options) -> list[str]:
    """The columns that are looked at; what the user named must be there."""
    named = [options.image_column, options.label_column, options.split_column, options.group_column]
    for name in filter(None, (*named, *options.label_columns, *options.ignore_column)):
        is_named(map(str, raw.columns), name, options.table)
    both = next((name for name in options.ignore_column if name in (*named, *options.label_columns)), None)
    if both is not None:
        raise DataError(f"column '{both}' is named to be used and to be ignored; choose one")
    return [str(name) for name in raw.columns if name not in options.ignore_column]


def _groups(
    raw: pd.DataFrame, ids: pd.Series, labels: pd.Series, free: Sequence[str], options: Options
) -> tuple[pd.Series, Grouping]:
    """The group of each image, and what is known of the groups."""
    path, similar = options.table, options.similar_ids
    if options.group_column is not None:
        groups, found = grouping.named_groups(raw, options.group_column, ids, path, similar)
    else:
        asked = options.split if "split" in options.model_fields_set and options.split != "image" else None
        groups, found = grouping.find_groups(raw, free, asked, path, ids, similar)
    others = [name for name in free if name not in found.columns]
    return groups, found.model_copy(update={"unused": unused_people(raw, groups, labels, others)})
