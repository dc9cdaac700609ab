"""The fingerprint of a data set: what to know before anyone trains on it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmd.data.audit.copies import contradictory, identical, near_duplicates
from lmd.data.audit.duplicates import NEAR_BITS
from lmd.data.audit.files import file_facts
from lmd.data.audit.looks import look_at
from lmd.data.audit.persons import grouping_of
from lmd.data.audit.results import CrossingGroup, Fingerprint, GroupSizes, Worth
from lmd.data.audit.wrong import wrong_lines
from lmd.data.dataset.checks import SPLITS, leakage
from lmd.data.dataset.manifest import Dataset
from lmd.parallel import Steps, quiet
from lmd.settings import Tree

_COARSE = 1.0  # Points of balanced accuracy from which the worth of one test image is told.
_UNSEEN: Tree = {"files": None, "identical": [], "contradictory": [], "near": None}


def fingerprint(
    dataset: Dataset, progress: Steps = quiet, near_bits: int = NEAR_BITS, look: bool = True
) -> Fingerprint:
    """Returns what there is to know of a data set; without a `look` no image file is opened.

    Groups are numbered in the order of the manifest: their names may be those of patients.
    """
    groups = pd.factorize(dataset.table["group"])[0]
    counts = {split: dataset.counts(split) for split in SPLITS}
    trained = counts["train"]
    found = Fingerprint(
        title=dataset.info.title,
        images=len(dataset.table),
        list_only=dataset.info.list_only,
        counts={split: of_class.tolist() for split, of_class in counts.items()},
        classes=dataset.classes,
        imbalance=float(trained.max() / trained.min()) if trained.any() else None,
        bands=dataset.info.bands,
        bands_rule=dataset.info.bands_rule,
        num_groups=int(groups.max()) + 1,
        grouping=grouping_of(dataset),
        images_per_group=_images_per_group(groups),
        crossing_groups=_crossing(dataset, groups),
        leakage=leakage(dataset.table),
        smallest_test_class=_smallest(dataset.classes, counts["test"]),
        worth=_worth(dataset.classes, counts["test"]),
        without={split: _without(dataset.classes, counts[split]) for split in ("val", "test")},
        wrong=[],
        **(_seen(dataset, groups, progress, near_bits) if look else _UNSEEN),
    )
    return found.model_copy(update={"wrong": wrong_lines(found)})


def _seen(dataset: Dataset, groups: np.ndarray, progress: Steps, near_bits: int) -> Tree:
    """What the files say: their kinds, those that are damaged, and copies."""
    looks, table = look_at(dataset, progress), dataset.table
    return {
        "files": file_facts(dataset, looks),
        "identical": identical(table, looks),
        "contradictory": contradictory(table, looks),
        "near": near_duplicates(table, groups, looks, near_bits),
    }


def _images_per_group(groups: np.ndarray) -> GroupSizes:
    sizes = np.bincount(groups)
    one, two, three = (int((sizes == n).sum()) for n in (1, 2, 3))
    return GroupSizes(one=one, two=two, three=three, more=int((sizes > 3).sum()), largest=int(sizes.max()))


def _crossing(dataset: Dataset, groups: np.ndarray) -> list[CrossingGroup]:
    """The groups with images in more than one split."""
    table = dataset.table.assign(number=groups)
    crossing = table.groupby("number")["split"].transform("nunique") > 1
    return [
        CrossingGroup(group=f"g{number}", splits=sorted(set(rows["split"])), ids=rows["id"].tolist())
        for number, rows in table[crossing].groupby("number")
    ]


def _worth(classes: list[str], counts: np.ndarray) -> list[Worth]:
    """What one test image is worth: of the smallest class, and of each other where it is much."""
    present = int((counts > 0).sum())
    rows: list[Worth] = []
    for k in np.argsort(counts, kind="stable"):
        if counts[k]:
            recall = 100 / int(counts[k])
            bacc = recall / present
            if not rows or bacc > _COARSE:
                row = Worth(name=classes[k], n=int(counts[k]), points_of_recall=recall, points_of_bacc=bacc)
                rows.append(row)
    return rows


def _smallest(classes: list[str], counts: np.ndarray) -> Worth | None:
    """The test class with fewest images; None where there is no test split."""
    if not counts.any():
        return None
    k = int(counts.argmin())
    if counts[k]:
        return _worth(classes, counts)[0]
    return Worth(name=classes[k], n=0, points_of_recall=None, points_of_bacc=None)


def _without(classes: list[str], counts: np.ndarray) -> list[str]:
    return [name for name, count in zip(classes, counts, strict=True) if count == 0]
