"""ISIC 2019: the challenge's training images and tables, 8 classes; and the paper's ISIC-2019-LT."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from lmd.data.dataset.checks import COLUMNS, SPLITS
from lmd.data.dataset.finish import finish_raw
from lmd.data.dataset.folds import Part, divided, parts
from lmd.data.dataset.longtail import counts_as_paper, split_as_paper, subsample
from lmd.data.dataset.manifest import Dataset, with_splits
from lmd.data.dataset.meaning.grouping import Grouping
from lmd.data.dataset.options import FoldOptions, ListedOptions
from lmd.data.dataset.output import refuse_used
from lmd.data.dataset.reading.tables import labels_of_marks, read_table
from lmd.data.dataset.usable import existing_folder, usable
from lmd.errors import DataError, SettingsError
from lmd.parallel import Steps, quiet
from lmd.settings import Tree
from lmd.text import numbered

TITLE = "ISIC 2019 dermoscopy, 8 classes; also the paper's ISIC-2019-LT"
EXAMPLES = (
    "lmd prepare isic2019 --root ISIC_2019 --split lesion --out DATA",
    "lmd prepare isic2019 --root ISIC_2019 --imbalance 100 --split paper --out DATA",
)
TRUTH, META, IMAGES = (
    "ISIC_2019_Training_GroundTruth.csv",
    "ISIC_2019_Training_Metadata.csv",
    "ISIC_2019_Training_Input",
)
CLASSES = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"]
UNKNOWN = "UNK"

_log = logging.getLogger(__name__)


class Options(FoldOptions, ListedOptions):
    """`root` holds the official tables and the folder of images; `imbalance` makes ISIC-2019-LT of them."""

    root: Path
    """folder of the challenge's download: both training tables and ISIC_2019_Training_Input"""
    split: Literal["image", "group", "lesion", "paper"] = "lesion"
    """what stays in one split: each image by itself, or all images of a lesion; paper: as the authors did"""
    imbalance: Annotated[float, Field(ge=1.0)] | None = None
    """make ISIC-2019-LT with this ratio of largest to smallest class; the paper has 100, 300 and 500"""


def prepare(options: Options, out: Path, progress: Steps = quiet) -> Dataset:
    """Makes a dataset folder of ISIC 2019, or of ISIC-2019-LT where an imbalance is given.

    ISIC-2019-LT is selected, and divided, before missing images are left out. An image without a lesion id
    is a group of its own. Images of the class UNK are left out.

    Raises:
        DataError: a table or image is missing or damaged.
        SettingsError: options that exclude each other.
    """
    refuse_used(out)
    _check(options)
    root = existing_folder(options.root, "the ISIC 2019 download")
    everything, facts = _described(root)
    plans = _plans(everything, options) if options.imbalance is not None else None
    wanted = everything if plans is None else _needed(everything, plans)
    table, bad, missing = usable(wanted, root / IMAGES, options, progress)
    return finish_raw(
        out,
        table,
        CLASSES,
        options,
        bad,
        {**facts, **missing},
        folds=options.folds,
        arrange=None if plans is None else plans.__getitem__,
        tables=[root / TRUTH, root / META],
        title="ISIC 2019" if plans is None else f"ISIC-2019-LT, imbalance {options.imbalance:g}",
        licence="CC BY-NC 4.0",
        citation="Tschandl et al. 2018 (HAM10000); Codella et al. 2018; Combalia et al. 2019 (BCN20000)",
        source="isic2019",
        image_root=str(root / IMAGES),
        grouping=Grouping(level="lesion", columns=("lesion_id",), unknown=facts["images_without_lesion_id"]),
        list_only=options.list_only,
    )


def _check(options: Options) -> None:
    if options.split == "paper" and options.imbalance is None:
        raise SettingsError("--split paper needs the paper's --imbalance, 100, 300 or 500")
    if options.split == "paper" and options.folds is not None:
        raise SettingsError("--split paper is one split; --folds need --split lesion or image")


def _described(root: Path) -> tuple[pd.DataFrame, Tree]:
    """The images of the eight classes with their lesion and metadata, and what is to be known of them."""
    table, unknown = _labelled(root)
    meta = read_table(root / META, ["image", "lesion_id"])
    meta = meta.drop(columns=[name for name in COLUMNS if name in meta.columns])
    meta = meta.rename(columns={"image": "id"})
    _refuse_repeated(root / META, meta["id"])
    table = table.merge(meta, on="id", how="left").fillna("")
    lesion = table.pop("lesion_id").str.strip()
    known = lesion[lesion != ""]
    per_lesion = known.value_counts()
    facts: Tree = {
        "unknown_class_images": unknown,
        "images_without_lesion_id": int((lesion == "").sum()),
        "lesions": int(known.nunique()),
        "lesions_of_several_images": int((per_lesion > 1).sum()),
    }
    return table.assign(group=lesion.where(lesion != "", table["id"])), facts


def _labelled(root: Path) -> tuple[pd.DataFrame, int]:
    """The id, label and shipped file of each image of the eight classes, and the number of UNK."""
    truth = read_table(root / TRUTH, ["image", *CLASSES])
    _refuse_repeated(root / TRUTH, truth["image"])
    marked = [*CLASSES, *([UNKNOWN] if UNKNOWN in truth.columns else [])]
    labels = labels_of_marks(root / TRUTH, truth["image"], truth[marked])
    unknown = labels == UNKNOWN
    if bool(unknown.any()):
        number = numbered(int(unknown.sum()), "image of class UNK is", "images of class UNK are")
        _log.warning("%s left out", number)
    table = pd.DataFrame({"id": truth["image"], "file": truth["image"] + ".jpg", "label": labels})
    # The recipe of ISIC-2019-LT draws from the order in which ISIC ships the images.
    return table[~unknown].sort_values("id", ignore_index=True), int(unknown.sum())


def _refuse_repeated(path: Path, ids: pd.Series) -> None:
    double = ids[ids.duplicated()]
    if len(double):
        raise DataError(f"{path} lists image '{double.iloc[0]}' more than once")


def _plans(table: pd.DataFrame, options: Options) -> dict[Part, tuple[pd.DataFrame, Tree]]:
    """ISIC-2019-LT for each part: its rows with their splits, and what the recipe has to say of it."""
    return {part: _plan(table, options, part) for part in parts(options.seed, options.folds, options.repeats)}


def _plan(table: pd.DataFrame, options: Options, part: Part) -> tuple[pd.DataFrame, Tree]:
    assert options.imbalance is not None
    kept = subsample(table["label"].to_numpy(), options.imbalance, part.seed)
    if options.split == "paper":
        splits = split_as_paper(kept, len(table), part.seed)
        return with_splits(table[splits != ""], splits[splits != ""]), {}
    rows = table.iloc[np.sort(np.concatenate(list(kept.values())))].reset_index(drop=True)
    rows = divided(rows, options.split == "image", options.fractions, options.folds, part)
    return rows, {"counts_against_paper": _moved(rows, kept)} if options.folds is None else {}


def _moved(rows: pd.DataFrame, kept: dict[str, np.ndarray]) -> Tree:
    """The images of each class and split in the paper's split, and here: groups cannot be cut to measure."""
    counts = rows.groupby(["label", "split"]).size()
    paper = {name: counts_as_paper(len(kept[name])) for name in CLASSES if name in kept}
    moved = {
        name: {split: [theirs[split], int(counts.get((name, split), 0))] for split in SPLITS}
        for name, theirs in paper.items()
    }
    totals = [[sum(moved[name][split][side] for name in moved) for side in (0, 1)] for split in SPLITS]
    words = ", ".join(f"{split} {old} -> {new}" for split, (old, new) in zip(SPLITS, totals, strict=True))
    _log.warning("counts against the paper's split: %s (by class in dataset.json)", words)
    return moved


def _needed(table: pd.DataFrame, plans: dict[Part, tuple[pd.DataFrame, Tree]]) -> pd.DataFrame:
    """The rows that any part uses: no other image has to be there."""
    used = {name for rows, _ in plans.values() for name in rows["id"]}
    return table[table["id"].isin(used)].reset_index(drop=True)
