"""The fingerprint of a data set: what to know before anyone trains on it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from lmd.data.images import file_hashes
from lmd.data.manifest import SPLITS, Dataset, crossing_groups
from lmd.settings import Tree

_SHOWN = 5  # Of a long list, so many lines tell what is the matter.


def fingerprint(dataset: Dataset) -> Tree:
    """Returns counts, imbalance, groups across splits, identical files, and what a test image is worth."""
    counts = {split: dataset.counts(split) for split in SPLITS}
    trained = counts["train"]
    return {
        "title": dataset.info.title,
        "images": len(dataset.table),
        "counts": {split: counts[split].tolist() for split in SPLITS},
        "classes": dataset.classes,
        "imbalance": float(trained.max() / trained.min()),
        "groups": dataset.info.groups,
        "groups_rule": dataset.info.groups_rule,
        "lesions": int(dataset.table["group"].nunique()),
        "crossing_groups": crossing_groups(dataset.table),
        "identical": _identical(dataset),
        "smallest_test_class": _smallest(dataset.classes, counts["test"]),
    }


def _identical(dataset: Dataset) -> list[Tree]:
    """Sets of byte-identical images, with the splits they are in."""
    found: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(file_hashes(dataset)):
        found[digest].append(row)
    table = dataset.table
    ids, splits = table["id"].tolist(), table["split"].tolist()
    return [
        {"ids": [ids[row] for row in rows], "splits": sorted({splits[row] for row in rows})}
        for rows in found.values()
        if len(rows) > 1
    ]


def _smallest(classes: list[str], counts: np.ndarray) -> Tree | None:
    """The test class with fewest images, and what one image of it is worth."""
    if not counts.any():
        return None
    k = int(counts.argmin())
    present = int((counts > 0).sum())
    count = int(counts[k])
    recall = 100 / count if count else None
    return {"class": classes[k], "n": count, "points_of_recall": recall,
            "points_of_bacc": recall / present if recall else None}  # fmt: skip


def format_fingerprint(print_: Tree) -> list[str]:
    """Returns the fingerprint as lines for the terminal."""
    names = {name: group for group, members in print_["groups"].items() for name in members}
    rows: list[list[Any]] = [["class", "group", *SPLITS, "all"]]
    for k, name in enumerate(print_["classes"]):
        numbers = [print_["counts"][split][k] for split in SPLITS]
        rows.append([name, names.get(name, ""), *numbers, sum(numbers)])
    totals = [sum(print_["counts"][split]) for split in SPLITS]
    rows.append(["all", "", *totals, sum(totals)])
    widths = [max(len(str(row[k])) for row in rows) for k in range(len(rows[0]))]
    lines = [f"{print_['title']}: {print_['images']} images, {len(print_['classes'])} classes"]
    lines += [
        "  ".join(str(word).ljust(width) for word, width in zip(row, widths, strict=True)) for row in rows
    ]
    lines.append(f"imbalance in training: {print_['imbalance']:.1f}; {print_['groups_rule']}")
    return lines + _warnings(print_)


def _warnings(print_: Tree) -> list[str]:
    crossing, identical, smallest = (
        print_["crossing_groups"], print_["identical"], print_["smallest_test_class"]
    )  # fmt: skip
    lines = [f"groups: {print_['lesions']}, of which {len(crossing)} have images in more than one split"]
    if crossing:
        lines.append(f"  LEAK: the test measures what was trained on; first: {', '.join(crossing[:_SHOWN])}")
    for found in identical[:_SHOWN]:
        lines.append(
            f"identical images: {', '.join(found['ids'][:_SHOWN])} (in {', '.join(found['splits'])})"
        )
    if identical[_SHOWN:]:
        lines.append(f"identical images: {len(identical) - _SHOWN} more sets")
    if smallest is None:
        lines.append("there is no test split")
    elif smallest["n"] == 0:
        lines.append(f"class {smallest['class']} has no test image: its recall cannot be measured")
    else:
        recall, bacc = smallest["points_of_recall"], smallest["points_of_bacc"]
        lines.append(
            f"class {smallest['class']} has {smallest['n']} test images: one image is {recall:.1f} points of "
            f"its recall and {bacc:.1f} of balanced accuracy"
        )
    return lines


def summary_lines(dataset: Dataset) -> list[str]:
    """Returns what `prepare` says of the folder it made."""
    counts = ", ".join(f"{split} {len(dataset.split(split))}" for split in SPLITS)
    skipped = dataset.info.recipe.get("skipped", 0)
    lines = [f"{dataset.folder}: {len(dataset.table)} images, {len(dataset.classes)} classes ({counts})"]
    if skipped:
        lines.append(f"{skipped} unreadable images left out, listed in {dataset.folder / 'skipped.csv'}")
    return lines
