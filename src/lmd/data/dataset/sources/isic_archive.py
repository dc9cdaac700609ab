"""ISIC Archive, 14 classes: the paper's ISIC-Archive-LT from published tables, or a metadata export."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import pandas as pd

from lmd.data.dataset.finish import finish_raw
from lmd.data.dataset.manifest import Dataset
from lmd.data.dataset.meaning.grouping import Grouping, Level, is_within
from lmd.data.dataset.options import FoldOptions, ListedOptions
from lmd.data.dataset.output import refuse_used
from lmd.data.dataset.reading.tables import labels_of_marks, read_published, read_table
from lmd.data.dataset.usable import usable
from lmd.errors import DataError, SettingsError
from lmd.parallel import Steps, quiet
from lmd.settings import Tree

TITLE = "ISIC Archive dermoscopy, 14 classes; also the paper's split"
EXAMPLES = (
    "lmd prepare isic-archive --root IMAGES --tables TABLES --out DATA",
    "lmd prepare isic-archive --root IMAGES --metadata metadata.csv --out DATA",
)
CLASSES = ["AK", "AMP", "AN", "BCC", "BKL", "DF", "LK", "LS", "MEL", "NV", "SCC", "SK", "SL", "VASC"]

# The archive's names until 2023 (column "diagnosis"); the paper's set was drawn by them.
_OLD_NAMES = {
    "actinic keratosis": "AK",
    "atypical melanocytic proliferation": "AMP",
    "angioma": "AN",
    "basal cell carcinoma": "BCC",
    "pigmented benign keratosis": "BKL",
    "dermatofibroma": "DF",
    "lichenoid keratosis": "LK",
    "lentigo simplex": "LS",
    "melanoma": "MEL",
    "nevus": "NV",
    "squamous cell carcinoma": "SCC",
    "seborrheic keratosis": "SK",
    "solar lentigo": "SL",
    "vascular lesion": "VASC",
}
# Its names since: five levels from the general to the special, of which the third names the disease. The old
# "vascular lesion" has no third level. AMP as "atypical melanocytic neoplasm" is our reading (docs/data.md).
_NEW_NAMES = {
    "solar or actinic keratosis": "AK",
    "atypical melanocytic neoplasm": "AMP",
    "hemangioma": "AN",
    "basal cell carcinoma": "BCC",
    "pigmented benign keratosis": "BKL",
    "dermatofibroma": "DF",
    "lichen planus like keratosis": "LK",
    "lentigo simplex": "LS",
    "melanoma invasive": "MEL",
    "melanoma in situ": "MEL",
    "melanoma, nos": "MEL",
    "nevus": "NV",
    "squamous cell carcinoma in situ": "SCC",
    "squamous cell carcinoma, invasive": "SCC",
    "squamous cell carcinoma, nos": "SCC",
    "seborrheic keratosis": "SK",
    "solar lentigo": "SL",
    "benign soft tissue proliferations - vascular": "VASC",
}
_KEPT = ["age_approx", "sex", "anatom_site_general", "image_type", "copyright_license", "attribution"]

_log = logging.getLogger(__name__)


class Options(FoldOptions, ListedOptions):
    """`root` is the folder of images; `tables` or `metadata` says which there are and what they show."""

    root: Path | None = None
    """folder of the images; --list-only needs none"""
    split: Literal["image", "group", "lesion", "patient"] = "group"
    """what stays in one split, with --metadata: each image by itself, or all images of a patient or lesion"""
    tables: Path | None = None
    """folder of the paper's training.csv, validation.csv and testing.csv; this or --metadata is needed"""
    metadata: Path | None = None
    """file of metadata that the archive's command isic exported"""


def prepare(options: Options, out: Path, progress: Steps = quiet) -> Dataset:
    """Makes a dataset folder of ISIC Archive images.

    With `tables` the authors' split is taken as it is; they say nothing of lesions and patients. With
    `metadata`, images of one patient (of one lesion where the patient is unknown) stay together.

    Raises:
        DataError: a table or image is missing or damaged.
        SettingsError: not exactly one of `tables` and `metadata`.
    """
    refuse_used(out)
    if (options.tables is None) == (options.metadata is None):
        raise SettingsError(
            "isic-archive needs --tables DIR (published) or --metadata FILE (exported), not both"
        )
    table, facts, read, groups = _published(options.tables) if options.tables else _exported(options)
    if "split" in options.model_fields_set and options.split not in ("image", "group", groups.level):
        raise DataError(
            f"--split {options.split} needs the {options.split} of the images, and {read[0]} does not say it"
        )
    table, bad, missing = usable(table, options.root, options, progress)
    return finish_raw(
        out,
        table,
        CLASSES,
        options,
        bad,
        {**facts, **missing},
        folds=options.folds,
        tables=read,
        title="ISIC-Archive-LT" if options.tables else "ISIC Archive, 14 classes",
        licence="by image: CC0, CC BY or CC BY-NC (the archive's copyright_license)",
        citation="the ISIC Archive and the attribution of each image; 14 classes as in Pan et al. 2025",
        source="isic-archive",
        image_root=str(options.root.resolve()) if options.root else "images",
        list_only=options.list_only,
        grouping=groups,
    )


def _published(folder: Path) -> tuple[pd.DataFrame, Tree, list[Path], Grouping]:
    """The authors' split: rows with a 1 in the column of their class."""
    marks, read = read_published(folder, ["image", *CLASSES])
    labels = labels_of_marks(folder, marks["image"], marks[CLASSES])
    ids = marks["image"]
    table = pd.DataFrame({"id": ids, "file": ids + ".jpg", "label": labels, "group": ids})
    return table.assign(split=marks["split"]), {"split": "paper"}, read, Grouping(level="image")


def _exported(options: Options) -> tuple[pd.DataFrame, Tree, list[Path], Grouping]:
    """The rows of a metadata export whose diagnosis is one of the 14 classes."""
    path = options.metadata
    assert path is not None
    export = read_table(path, ["isic_id"])
    double = export["isic_id"][export["isic_id"].duplicated()]
    if len(double):
        raise DataError(f"{path} lists image '{double.iloc[0]}' more than once")
    labels, names = _labels(path, export)
    unmapped = names[labels == ""].replace("", "(no diagnosis)").value_counts()
    _report(unmapped, len(export))
    ids = export["isic_id"]
    table = pd.DataFrame({"id": ids, "file": ids + ".jpg", "label": labels})
    table["group"] = _groups(export, options.split)
    table = pd.concat([table, export[[name for name in _KEPT if name in export.columns]]], axis=1)
    facts = {"unmapped": {str(name): int(count) for name, count in unmapped.items()}}
    groups = _grouping(export[labels != ""], options.split)
    return table[labels != ""].reset_index(drop=True), facts, [path], groups


def _labels(path: Path, export: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """The class of each row, "" for none, and the name it was found by; old names come first."""
    old = _column(export, "diagnosis")
    new = _column(export, "diagnosis_3")
    new = new.where(new != "", _column(export, "diagnosis_2"))
    if not {"diagnosis", "diagnosis_3"} & set(export.columns):
        raise DataError(f"{path} lacks the columns 'diagnosis' (2022) and 'diagnosis_1' to '_5' (today)")
    by_old = old.str.casefold().map(_OLD_NAMES).fillna("")
    by_new = new.str.casefold().map(_NEW_NAMES).fillna("")
    return by_old.where(old != "", by_new), old.where(old != "", new)


def _column(export: pd.DataFrame, name: str) -> pd.Series:
    return export[name].str.strip() if name in export.columns else pd.Series("", index=export.index)


def _report(unmapped: pd.Series, total: int) -> None:
    if len(unmapped):
        first = ", ".join(f"{name} {count}" for name, count in unmapped.head(5).items())
        more = f", and {len(unmapped) - 5} more names in dataset.json" if len(unmapped) > 5 else ""
        _log.warning(
            "%d of %d images are of no class of the 14 and left out: %s%s", unmapped.sum(), total, first, more
        )


def _grouping(export: pd.DataFrame, split: str) -> Grouping:
    """What the groups are: patients where the export names any, else lesions, else images."""
    lesion, patient = _column(export, "lesion_id"), _column(export, "patient_id")
    found: dict[Level, pd.Series] = {"patient": patient, "lesion": lesion}
    wanted: tuple[Level, ...] = ("lesion",) if split == "lesion" else ("patient", "lesion")
    level = next((level for level in wanted if (found[level] != "").any()), None)
    if level is None:
        return Grouping(level="image")
    torn = level == "lesion" and not is_within(patient, lesion.where(lesion != "", export["isic_id"]))
    unknown = int(((lesion == "") & ((patient == "") | (split == "lesion"))).sum())
    return Grouping(
        level=level, columns=(f"{level}_id",), unknown=unknown, unused=("patient_id",) if torn else ()
    )


def _groups(export: pd.DataFrame, split: str) -> pd.Series:
    """The patient of each image, or its lesion, or itself; one image tells the patient of all of a lesion."""
    lesion, patient = _column(export, "lesion_id"), _column(export, "patient_id")
    lesions = lesion.where(lesion != "", export["isic_id"])
    if split == "lesion":
        return lesions
    known = patient != ""
    patient = patient.where(known, lesions.map(dict(zip(lesions[known], patient[known], strict=True))))
    return patient.fillna("").where(patient.notna(), lesions)
