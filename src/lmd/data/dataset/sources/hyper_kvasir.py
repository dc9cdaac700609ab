"""Hyper-Kvasir: labelled endoscopy images, 23 classes; by fractions, published tables or official folds."""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import field_validator

from lmd.data.dataset.finish import Arrange, finish_raw
from lmd.data.dataset.folds import Part, fold_splits
from lmd.data.dataset.longtail import bands_by_count, split_stratified
from lmd.data.dataset.manifest import Dataset
from lmd.data.dataset.meaning.grouping import Grouping
from lmd.data.dataset.options import ListedOptions, RawOptions
from lmd.data.dataset.output import refuse_used
from lmd.data.dataset.reading.tables import read_published, read_table
from lmd.data.dataset.usable import usable
from lmd.errors import DataError, SettingsError
from lmd.parallel import Steps, quiet
from lmd.settings import Tree
from lmd.text import numbered

TITLE = "Hyper-Kvasir endoscopy, 23 classes; also the paper's split"
EXAMPLES = (
    "lmd prepare hyper-kvasir --root labeled-images --out DATA",
    "lmd prepare hyper-kvasir --root labeled-images --folds 5 --out DATA",
)
LABELS, TREE = "image-labels.csv", "labeled-images"
COLUMNS = ["Video file", "Organ", "Finding", "Classification"]
FOLD_COLUMNS = ["file-name", "class-name", "split-index"]

# The official folds and some releases name eight findings otherwise than image-labels.csv.
_OTHER_NAMES = {
    "polyp": "polyps",
    "normal-cecum": "cecum",
    "normal-pylorus": "pylorus",
    "normal-z-line": "z-line",
    "oesophagitis-a": "esophagitis-a",
    "oesophagitis-b-d": "esophagitis-b-d",
    "short-segment-barretts": "barretts-short-segment",
    "hemorroids": "hemorrhoids",
}

_log = logging.getLogger(__name__)


class Options(RawOptions, ListedOptions):
    """`root` is the official folder; `labels` its table of labels where that lies elsewhere."""

    root: Path | None = None
    """folder of the official download; --list-only with --labels or --tables needs none"""
    labels: Path | None = None
    """file image-labels.csv, where it lies outside of --root"""
    tables: Path | None = None
    """folder of the paper's training.csv, validation.csv and testing.csv: the paper's split"""
    split: Literal["image"] = "image"
    """each image stands by itself: the set knows no patients"""
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """shares of training, validation and test; they add up to 1"""
    folds: int | Path | None = None
    """number of folds for cross-validation, or the official file hyper-kvasir_5_fold_split.csv"""

    @field_validator("folds", mode="before")
    @classmethod
    def _read_folds(cls, value: Any) -> Any:
        number = int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value
        if isinstance(number, int) and number < 2:
            raise ValueError("must be a number of at least 2, or the official file")
        return number


def prepare(options: Options, out: Path, progress: Steps = quiet) -> Dataset:
    """Makes a dataset folder of Hyper-Kvasir's labelled images; each image is its own group.

    Raises:
        DataError: a table or image is missing or damaged, or tables contradict each other.
        SettingsError: options that exclude each other.
    """
    refuse_used(out)
    if options.tables is not None and options.folds is not None:
        raise SettingsError("--tables hold one split; they and --folds exclude each other")
    table, read, facts = _described(options)
    folds, arrange = options.folds, None
    if folds is None and options.tables is None:
        arrange = _by_fractions(table, options)
    if isinstance(folds, Path):
        read = [*read, folds]
        fold, folds = _official(folds, table)
        arrange = _by_official_fold(table, fold, options)
    classes = sorted(set(table["label"]))
    root = _image_folder(options.root)
    table, bad, missing = usable(table, root, options, progress)
    _warn_of_other_folders(table)
    return finish_raw(
        out,
        table,
        classes,
        options,
        bad,
        {**facts, **missing},
        folds=folds,
        arrange=arrange,
        tables=read,
        banding=bands_by_count,
        title="Hyper-Kvasir, labelled images",
        licence="CC BY 4.0",
        citation="Borgli et al. 2020, HyperKvasir, Scientific Data 7, 283",
        source="hyper-kvasir",
        image_root=str(root.resolve()) if root else TREE,
        list_only=options.list_only,
        grouping=Grouping(level="image"),
    )


def _described(options: Options) -> tuple[pd.DataFrame, list[Path], Tree]:
    """Every labelled image with its finding and its place in the official tree; the tables read."""
    if options.tables is not None:
        rows, read = read_published(options.tables, COLUMNS)
        return _table(rows, options.tables).assign(split=rows["split"]), read, {"split": "paper"}
    path = options.labels or _labels_file(options.root)
    return _table(read_table(path, COLUMNS).reset_index(drop=True), path), [path], {}


def _image_folder(root: Path | None) -> Path | None:
    """The folder that holds lower-gi-tract and upper-gi-tract, in the official download or itself."""
    return root / TREE if root is not None and (root / TREE).is_dir() else root


def _labels_file(root: Path | None) -> Path:
    if root is None:
        raise SettingsError(
            "hyper-kvasir needs --root DIR (the official folder), --labels FILE, --tables DIR"
        )
    places = [root / LABELS, root / TREE / LABELS, root.parent / LABELS]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise DataError(f"no {LABELS} in {root} or {root / TREE}; name it with --labels")
    return found


def _table(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    ids = rows["Video file"].str.strip().str.removesuffix(".jpg")
    double = ids[ids.duplicated()]
    if len(double):
        raise DataError(f"{path} lists image '{double.iloc[0]}' more than once")
    finding, organ = rows["Finding"].str.strip(), rows["Organ"].str.strip()
    unlabelled = ids[finding == ""]
    if len(unlabelled):
        raise DataError(f"{path} gives image '{unlabelled.iloc[0]}' no Finding")
    place = organ.str.lower().str.replace(" ", "-") + "-tract/" + rows["Classification"].str.strip()
    table = pd.DataFrame({"id": ids, "file": place + "/" + finding + "/" + ids + ".jpg", "label": finding})
    return table.assign(group=ids, organ=organ, classification=rows["Classification"])


def _official(path: Path, table: pd.DataFrame) -> tuple[pd.Series, int]:
    """The official fold of each image, and their number.

    Raises:
        DataError: the file is not that of these images, or gives one another class.
    """
    rows = read_table(path, FOLD_COLUMNS).reset_index(drop=True)
    rows.index = pd.Index(rows["file-name"].str.strip().str.removesuffix(".jpg"))
    if rows.index.has_duplicates or set(rows.index) != set(table["id"]):
        raise DataError(f"{path} does not list each of the {len(table)} labelled images once")
    rows = rows.loc[table["id"]].reset_index(drop=True)
    differs = rows["class-name"].str.strip().replace(_OTHER_NAMES) != table["label"]
    if bool(differs.any()):
        first = differs.idxmax()
        names = f"'{rows['class-name'][first]}', not '{table['label'][first]}'"
        raise DataError(f"{path} calls image '{table['id'][first]}' {names}")
    folds = pd.to_numeric(rows["split-index"], errors="coerce")
    number = folds.nunique()
    if number < 2 or set(folds) != set(range(number)):
        raise DataError(f"{path} must number its folds 0, 1, ... in 'split-index'")
    return folds.astype(int), number


def _by_fractions(table: pd.DataFrame, options: Options) -> Arrange:
    def arrange(part: Part) -> tuple[pd.DataFrame, Tree]:
        splits = split_stratified(table["label"].to_numpy(), options.fractions, part.seed)
        return table.assign(split=splits), {}

    return arrange


def _by_official_fold(table: pd.DataFrame, fold: pd.Series, options: Options) -> Arrange:
    labels, groups, folds = table["label"].to_numpy(), table["group"].to_numpy(), fold.to_numpy()

    def arrange(part: Part) -> tuple[pd.DataFrame, Tree]:
        return table.assign(split=fold_splits(labels, groups, folds, options.fractions, part)), {}

    return arrange


def _warn_of_other_folders(table: pd.DataFrame) -> None:
    """Says where the folder of an image is not that of its finding in the table."""
    folders = [PurePosixPath(file).parent.name for file in table["file"]]
    differ = np.array([_OTHER_NAMES.get(name, name) for name in folders]) != table["label"].to_numpy()
    if differ.any():
        number = numbered(int(differ.sum()), "image lies", "images lie")
        _log.warning("%s in the folder of another finding than the table's", number)
