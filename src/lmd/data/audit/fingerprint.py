"""The fingerprint of a data set: what to know before anyone trains on it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lmd.data.audit.duplicates import LEAST_AGREEMENT, NEAR_BITS, Pair, identical_rows, near_pairs
from lmd.data.audit.looks import BITS, Looks, look_at
from lmd.data.dataset.manifest import MANIFEST, SPLITS, Dataset, leakage
from lmd.data.decode.images import printable
from lmd.parallel import Progress, quiet
from lmd.settings import Tree

_LISTED = 1000  # Near duplicates in the fingerprint: those across splits first, then those nearest.
_COARSE = 1.0  # Points of balanced accuracy from which the worth of one test image is told.


def fingerprint(
    dataset: Dataset, progress: Progress = quiet, near_bits: int = NEAR_BITS, look: bool = True
) -> Tree:
    """Returns what there is to know of a data set, as JSON; without a `look` no image file is opened.

    Groups are numbered in the order of the manifest: their names may be those of patients.
    """
    counts = {split: dataset.counts(split) for split in SPLITS}
    trained = counts["train"]
    groups = pd.factorize(dataset.table["group"])[0]
    found: Tree = {
        "title": dataset.info.title,
        "images": len(dataset.table),
        "list_only": dataset.info.list_only,
        "counts": {split: counts[split].tolist() for split in SPLITS},
        "classes": dataset.classes,
        "imbalance": float(trained.max() / trained.min()),
        "groups": dataset.info.groups,
        "groups_rule": dataset.info.groups_rule,
        "lesions": int(groups.max()) + 1,
        "images_per_group": _images_per_group(groups),
        "crossing_groups": _crossing(dataset, groups),
        "leakage": leakage(dataset.table),
        "smallest_test_class": _smallest(dataset.classes, counts["test"]),
        "worth": _worth(dataset.classes, counts["test"]),
        "without": {split: _without(dataset.classes, counts[split]) for split in ("val", "test")},
        "files": None, "identical": [], "contradictory": [], "near": None,
    }  # fmt: skip
    if look:
        found |= _seen(dataset, look_at(dataset, progress), groups, near_bits)
    return found | {"wrong": _wrong(found)}


def _images_per_group(groups: np.ndarray) -> Tree:
    """How many groups have one image, two, three, and more."""
    sizes = np.bincount(groups)
    return {
        **{str(n): int((sizes == n).sum()) for n in (1, 2, 3)},
        "more": int((sizes > 3).sum()),
        "largest": int(sizes.max()),
    }


def _crossing(dataset: Dataset, groups: np.ndarray) -> list[Tree]:
    """The groups with images in more than one split, each with its number, its splits and its images."""
    table = dataset.table.assign(number=groups)
    crossing = table.groupby("number")["split"].transform("nunique") > 1
    return [
        {"group": f"g{number}", "splits": sorted(set(rows["split"])), "ids": rows["id"].tolist()}
        for number, rows in table[crossing].groupby("number")
    ]


def _worth(classes: list[str], counts: np.ndarray) -> list[Tree]:
    """What one test image is worth: of the smallest class, and of each other where it is much."""
    present = int((counts > 0).sum())
    rows = [
        {"class": classes[k], "n": int(counts[k]), "points_of_recall": 100 / int(counts[k]),
         "points_of_bacc": 100 / int(counts[k]) / present}
        for k in np.argsort(counts, kind="stable") if counts[k]
    ]  # fmt: skip
    return rows[:1] + [row for row in rows[1:] if row["points_of_bacc"] > _COARSE]


def _smallest(classes: list[str], counts: np.ndarray) -> Tree | None:
    """The test class with fewest images, and what one image of it is worth, if it has any."""
    if not counts.any():
        return None
    k = int(counts.argmin())
    if counts[k]:
        return _worth(classes, counts)[0]
    return {"class": classes[k], "n": 0, "points_of_recall": None, "points_of_bacc": None}


def _without(classes: list[str], counts: np.ndarray) -> list[str]:
    return [name for name, count in zip(classes, counts, strict=True) if count == 0]


def _seen(dataset: Dataset, looks: Looks, groups: np.ndarray, near_bits: int) -> Tree:
    """What the files say: their kinds, those that are damaged, and copies."""
    table = dataset.table
    sets = [_members(table, rows) for rows in identical_rows(looks.records)]
    pairs, complete = near_pairs(looks.records, near_bits)
    listed = [_described(table, groups, pair) for pair in pairs]
    listed.sort(key=lambda pair: (len(set(pair["splits"])) == 1, len(set(pair["labels"])) == 1, pair["bits"]))
    near = {
        "bits": near_bits,
        "of": BITS,
        "agreement": LEAST_AGREEMENT,
        "complete": complete,
        "count": len(listed),
        "across": sum(len(set(pair["splits"])) > 1 for pair in listed),
        "train_test": sum(set(pair["splits"]) == {"train", "test"} for pair in listed),
        "other_group": sum(len(set(pair["groups"])) > 1 for pair in listed),
        "other_label": sum(len(set(pair["labels"])) > 1 for pair in listed),
        "pairs": listed[:_LISTED],
    }
    return {
        "files": _files(dataset, looks),
        "identical": [{name: found[name] for name in ("ids", "splits")} for found in sets],
        "contradictory": [
            {name: found[name] for name in ("ids", "labels")} for found in sets if len(found["labels"]) > 1
        ],
        "near": near,
    }


def _members(table: pd.DataFrame, rows: list[int]) -> Tree:
    part = table.iloc[rows]
    return {
        "ids": part["id"].tolist(),
        "splits": sorted(set(part["split"])),
        "labels": sorted(set(part["label"])),
    }


def _described(table: pd.DataFrame, groups: np.ndarray, pair: Pair) -> Tree:
    rows = [pair.first, pair.second]
    return {
        "rows": rows,
        "ids": [table["id"].iat[row] for row in rows],
        "splits": [table["split"].iat[row] for row in rows],
        "labels": [table["label"].iat[row] for row in rows],
        "groups": [f"g{groups[row]}" for row in rows],
        "bits": pair.bits,
        "agreement": pair.agreement,
        "turned": pair.turn > 0,
    }


def _files(dataset: Dataset, looks: Looks) -> Tree:
    """Sizes, kinds, and the files that are missing, damaged or younger than the manifest."""
    names = dataset.table["file"].tolist()
    records = looks.records[looks.good()]
    width, height = records["width"].astype(float), records["height"].astype(float)
    return {
        "read": len(records),
        "missing": [names[row] for row in looks.missing],
        "broken": [{"file": names[row], "reason": reason} for row, reason in looks.broken.items()],
        "changed": _changed(dataset),
        "formats": _tally(records["format"]),
        "modes": _tally(records["mode"]),
        "sizes": _tally([f"{w} x {h}" for w, h in zip(records["width"], records["height"], strict=True)]),
        "shorter_side": _spread(np.minimum(width, height)),
        "aspect": _spread(width / np.maximum(height, 1)),
    }


def _changed(dataset: Dataset) -> list[str]:
    """The files that were written after the manifest was: other images than those that were prepared."""
    try:
        made = (dataset.folder / MANIFEST).stat().st_mtime_ns
    except OSError:
        return []
    return [file for file in dataset.table["file"] if _written(dataset.root / file) > made]


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _tally(values: Any) -> Tree:
    """How often each value is there, most frequent first."""
    return {str(name) or "unknown": count for name, count in Counter(map(str, values)).most_common()}


def _spread(values: np.ndarray) -> list[float] | None:
    """Least, median and greatest."""
    return [round(float(value), 3) for value in np.percentile(values, [0, 50, 100])] if len(values) else None


def _wrong(found: Tree) -> list[str]:
    """What must not be so, one line each: `--strict` fails on any."""
    return [*_wrong_splits(found), *_wrong_files(found), *_wrong_copies(found)]


def _wrong_splits(found: Tree) -> list[str]:
    lines = []
    leaked, crossing = found["leakage"], len(found["crossing_groups"])
    if leaked["groups"]:
        lines.append(
            f"leak: {leaked['test_images']} of {leaked['of_test_images']} test images are of a group "
            f"(lesion, patient) that is also in training ({leaked['groups']} groups)"
        )
    if crossing > leaked["groups"]:
        lines.append(f"leak: {crossing} groups in all have images in more than one split")
    for split, names in found["without"].items():
        if len(names) == len(found["classes"]):
            lines.append(f"there is no {split} split")
        elif names:
            lines.append(f"no {split} image: {_some(names, 'class', 'classes')}")
    return lines


def _wrong_files(found: Tree) -> list[str]:
    files = found["files"]
    if files is None:
        return []
    lines = []
    if files["broken"]:
        lines.append(f"broken: {_some([bad['file'] for bad in files['broken']], 'image', 'images')}")
    if files["missing"] and not found["list_only"]:
        lines.append(f"missing: {_some(files['missing'], 'image', 'images')}")
    return lines


def _wrong_copies(found: Tree) -> list[str]:
    across = sum(len(entry["splits"]) > 1 for entry in found["identical"])
    contradictory, near = found["contradictory"], found["near"]
    lines = []
    if across:
        lines.append(f"identical images in more than one split: {_sets(across)}")
    if contradictory:
        first = contradictory[0]
        lines.append(
            f"identical images with different labels: {_sets(len(contradictory))}, first "
            f"{_first(first['ids'])} ({', '.join(first['labels'])})"
        )
    if near and near["across"]:
        lines.append(
            f"nearly the same picture in two splits: {near['across']} pairs ({near['train_test']} of them in "
            "training and test)"
        )
    return lines


def _sets(count: int) -> str:
    return f"{count} set{'' if count == 1 else 's'}"


def _some(names: list[str], one: str, many: str) -> str:
    return f"{len(names)} {one if len(names) == 1 else many} ({_first(names)})"


def _first(names: list[str], shown: int = 5) -> str:
    """The first names, and how many more there are.

    >>> _first(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(printable(name) for name in names[:shown]) + more


def summary_lines(dataset: Dataset) -> list[str]:
    """Returns what `prepare` says of the folder it made."""
    counts = ", ".join(f"{split} {len(dataset.split(split))}" for split in SPLITS)
    skipped = dataset.info.recipe.get("skipped", 0)
    lines = [f"{dataset.folder}: {len(dataset.table)} images, {len(dataset.classes)} classes ({counts})"]
    if skipped:
        lines.append(f"{skipped} images or rows left out, listed in {dataset.folder / 'skipped.csv'}")
    return lines
