"""ISIC 2019: the challenge's training images, ground truth and metadata, 8 classes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import pandas as pd

from lmd.data.images import Progress, quiet
from lmd.data.manifest import Dataset
from lmd.data.sources._common import RawOptions, existing_folder, finish_raw, refuse_used, without_bad_images
from lmd.errors import DataError

TITLE = "ISIC 2019 dermoscopy (folder with ISIC_2019_Training_*), 8 classes"
TRUTH, META, IMAGES = (
    "ISIC_2019_Training_GroundTruth.csv",
    "ISIC_2019_Training_Metadata.csv",
    "ISIC_2019_Training_Input",
)
CLASSES = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"]

_log = logging.getLogger(__name__)


class Options(RawOptions):
    """`root` holds the official tables and the folder of images; `split` is lesion or image."""

    split: Literal["image", "group", "lesion"] = "lesion"
    allow_missing: bool = False


def prepare(options: Options, out: Path, progress: Progress = quiet) -> Dataset:
    """Makes a dataset folder of the ISIC 2019 images that are there, split by lesion or by image.

    An image without a lesion id is a group of its own. Images of the class UNK are left out.

    Raises:
        DataError: a table or image is missing or damaged.
    """
    refuse_used(out)
    root = existing_folder(options.root, "the ISIC 2019 download")
    table = _labelled(root).merge(_metadata(root), on="id", how="left").fillna("")
    lesion = table.pop("lesion_id")
    table["group"] = lesion.where(lesion != "", table["id"])
    table, missing = _present(table, root, options.allow_missing)
    table, bad = without_bad_images(table, root / IMAGES, options, progress)
    return finish_raw(
        out,
        table,
        CLASSES,
        options,
        bad,
        title="ISIC 2019",
        licence="CC BY-NC 4.0",
        citation="Tschandl et al. 2018 (HAM10000); Codella et al. 2018; Combalia et al. 2019 (BCN20000)",
        source="isic2019",
        image_root=str(root / IMAGES),
        recipe={"missing_images": missing},
    )


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is not a table: {error}") from error
    lacking = [name for name in columns if name not in table.columns]
    if lacking:
        raise DataError(f"{path} lacks the column '{lacking[0]}'")
    return table


def _labelled(root: Path) -> pd.DataFrame:
    """The id and label of each image whose class is one of the eight."""
    truth = _read(root / TRUTH, ["image", *CLASSES])
    marks = truth[CLASSES].apply(pd.to_numeric, errors="coerce")
    wrong = marks.isna().any(axis=1) | (marks.sum(axis=1) > 1)
    if bool(wrong.any()):
        raise DataError(f"{root / TRUTH} does not give image {truth['image'][wrong].iloc[0]} one class")
    unknown = marks.sum(axis=1) == 0
    if bool(unknown.any()):
        _log.warning("%d images of class UNK are left out", int(unknown.sum()))
    table = pd.DataFrame({"id": truth["image"], "label": marks.idxmax(axis=1)})
    return table[~unknown].reset_index(drop=True)


def _metadata(root: Path) -> pd.DataFrame:
    return _read(root / META, ["image", "lesion_id"]).rename(columns={"image": "id"})


def _present(table: pd.DataFrame, root: Path, allow_missing: bool) -> tuple[pd.DataFrame, int]:
    """Keeps the images that are there and says how many are not."""
    files = {path.stem: path.name for path in existing_folder(root / IMAGES, "the images").iterdir()}
    table = table.assign(file=table["id"].map(files))
    missing = table["file"].isna()
    count = int(missing.sum())
    if count and not allow_missing:
        first = table["id"][missing].iloc[0]
        raise DataError(
            f"{count} of {len(table)} images are missing in {root / IMAGES} (first: {first}); "
            "go on without them with --allow-missing"
        )
    if count:
        _log.warning("%d of %d images are missing and left out", count, len(table))
    return table[~missing].reset_index(drop=True), count
