"""Shards: tar files in the format of webdataset, whose images are never unpacked."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pandas as pd

from lmd.data.dataset.finish import finish_raw
from lmd.data.dataset.folders.shard_files import shard_files
from lmd.data.dataset.folders.shard_samples import samples_of
from lmd.data.dataset.manifest import Dataset
from lmd.data.dataset.meaning import grouping
from lmd.data.dataset.meaning.columns import columns_line
from lmd.data.dataset.meaning.labels import refuse_similar, tell_missing_words
from lmd.data.dataset.meaning.spelling import shown
from lmd.data.dataset.meaning.unsound import left_out, without_rows, without_value
from lmd.data.dataset.options import ColumnOptions, Names, Texts
from lmd.data.dataset.output import refuse_used
from lmd.data.dataset.sources import table as tables
from lmd.data.dataset.usable import without_bad_images
from lmd.errors import DataError
from lmd.parallel import Steps, quiet

TITLE = "tar files of images and labels (webdataset), never unpacked"
EXAMPLES = (
    "lmd prepare shards --shards SHARDS --out DATA",
    "lmd prepare shards --shards 'DIR/train-{000..146}.tar' --out DATA",
)
_log = logging.getLogger(__name__)
_FILE = "image in the shard"  # The column of our own that names the image.


class Options(ColumnOptions):
    """`shards` names the tar files; a sample is an image with a .cls or a .json of the same name.

    A column is an entry of the .json files. Without `split_column`, names of shards such as train-000000.tar
    say the split.
    """

    shards: Texts
    """folder of .tar files, or files as a pattern: 'train-{000000..000146}.tar', '*.tar'"""
    class_names: Names = ()
    """names of the classes whose labels are numbers, from 0 on, with commas between them"""
    label_column: str | None = None
    """entry of the .json files that holds the class (found by its name, where there is no .cls)"""


def prepare(options: Options, out: Path, progress: Steps = quiet) -> Dataset:
    """Makes a dataset folder of shards; entries of the .json files are kept as metadata.

    Raises:
        DataError: a shard is damaged or unsafe, or a sample lacks its image or label.
    """
    refuse_used(out)
    shards = shard_files(options.shards)
    root = Path(os.path.commonpath([shard.parent for shard in shards]))
    raw = samples_of(shards, root, _FILE, progress)
    asked = _as_table(options, raw, root)
    table, found, columns = tables.named(raw, asked, None)
    table = table.assign(id=raw["id"], label=_with_names(table["label"], options.class_names))
    dropped = left_out(table, asked)
    reasons = {**without_value(table), **dropped}
    table, unsound = without_rows(table, reasons, dropped, asked, lambda row: f"sample '{raw['id'][row]}'")
    refuse_similar(table["label"], root)
    tell_missing_words(table["label"], "--drop-label")
    classes = _in_order(set(table["label"]), options.class_names)
    table, bad = without_bad_images(table, root, options, progress)
    _log.warning("%s", columns_line(columns))
    grouping.tell(found, table["group"])
    return finish_raw(
        out,
        table,
        classes,
        options,
        unsound + bad,
        {"columns": columns, "shards": len(shards)},
        folds=options.folds,
        title=root.name,
        licence="not stated",
        citation="not stated",
        source="shards",
        image_root=str(root),
        grouping=found,
    )


def _as_table(options: Options, raw: pd.DataFrame, root: Path) -> tables.Options:
    """The options under which the samples are understood as rows of a table are."""
    names = set(tables.Options.model_fields) & options.model_fields_set - {"label_column"}
    label = options.label_column or ("cls" if "cls" in raw.columns else None)
    return tables.Options(
        root=root,
        table=root,
        image_column=_FILE,
        label_column=label,
        **{name: getattr(options, name) for name in names},
    )


def _with_names(labels: pd.Series, names: tuple[str, ...]) -> pd.Series:
    """The labels, with the names of those that are numbers; a missing label stays."""
    if not names:
        return labels
    known = {str(number): name for number, name in enumerate(names)}
    strange = labels[~labels.isin(known) & labels.map(shown).astype(bool)]
    if len(strange):
        raise DataError(
            f"--class-names has {len(names)} names, for the labels 0 to {len(names) - 1}: label "
            f"'{strange.iloc[0]}' is none of them"
        )
    return labels.replace(known)


def _in_order(labels: set[str], names: tuple[str, ...]) -> list[str]:
    """The classes: as they are named, numbers by their size, else by the alphabet."""
    if names:
        return [name for name in names if name in labels]
    return sorted(labels, key=int) if all(label.isdecimal() for label in labels) else sorted(labels)
