"""The picture page of a data set: how rare the rare classes are, what they look like, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lmd.data.audit.persons import unknown_persons
from lmd.data.audit.results import Fingerprint, NearPair
from lmd.data.audit.text import (
    count_rows,
    file_lines,
    imbalance_words,
    near_line,
    pair_words,
    per_group_line,
    worth_lines,
)
from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.manifest import Dataset
from lmd.reporting.figures import BLUE, GREEN, ORANGE, drawing, short
from lmd.reporting.page import render
from lmd.reporting.thumbnails import thumbnails
from lmd.settings import Tree

_PER_CLASS, _SHEET_SIDE = 8, 110
_PAIRS, _PAIR_SIDE = 60, 150


def write_inspection(path: Path, dataset: Dataset, found: Fingerprint, seed: int = 42) -> Path:
    """Writes the page of a fingerprint, one file that stands alone, and returns its path."""
    shown = found.near.pairs[:_PAIRS] if found.near else []
    content: Tree = {
        "title": found.title,
        "phantom": dataset.info.source == "phantom",
        "found": found,
        "info": dataset.info,
        "imbalance": imbalance_words(found.imbalance),
        "counts": count_rows(found),
        "histogram": long_tail(found),
        "lines": [
            per_group_line(found.images_per_group),
            *unknown_persons(found.grouping),
            *worth_lines(found),
            *file_lines(found),
        ],
        "near": near_line(found.near) if found.near else None,
        "pairs": _pictured(dataset, shown),
        "sheet": _contact_sheet(dataset, found, seed),
        "per_class": _PER_CLASS,
        "seed": seed,
    }
    return render("inspect.html", path, content)


def long_tail(found: Fingerprint) -> str:
    """The images of each class, most frequent first, one bar for each split, on a logarithmic axis."""
    counts = np.array([found.counts[split] for split in SPLITS])
    order = np.argsort(-(counts[0] if counts[0].any() else counts.sum(0)), kind="stable")
    with drawing(9, 3.4) as picture:
        axes = picture.axes
        for number, (split, colour) in enumerate(zip(SPLITS, (BLUE, GREEN, ORANGE), strict=True)):
            place = np.arange(len(order)) + (number - 1) * 0.27
            axes.bar(place, counts[number][order], 0.27, label=split, color=colour)
        names = [short(found.classes[k]) for k in order]
        axes.set_xticks(range(len(order)), names, rotation=90 if len(order) > 10 else 0)
        axes.set_yscale("symlog", linthresh=1)
        axes.set(ylabel="images (logarithmic)", ylim=(0, counts.max() * 1.6))
        axes.legend()
    return picture.svg


def _contact_sheet(dataset: Dataset, found: Fingerprint, seed: int) -> list[tuple[str, list[str]]]:
    """A few pictures of each class, chosen by the seed among those that can be read."""
    bad = {entry.file for entry in found.files.broken} if found.files else set()
    sheet = []
    for k, name in enumerate(dataset.classes):
        files = [file for file in dataset.table["file"][dataset.table["label"] == name] if file not in bad]
        files = [file for file in files if dataset.path(file).is_file()]
        order = np.random.default_rng([seed, k]).permutation(len(files))[:_PER_CLASS]
        sheet.append((name, thumbnails(dataset, [files[number] for number in order], _SHEET_SIDE)))
    return sheet


def _pictured(dataset: Dataset, pairs: list[NearPair]) -> list[Tree]:
    """Near duplicates with their two pictures and what is to be said of them."""
    files = [dataset.table["file"].iat[row] for pair in pairs for row in pair.rows]
    pictures = thumbnails(dataset, files, _PAIR_SIDE)
    return [
        {"ids": pair.ids, "pictures": pictures[2 * k : 2 * k + 2], "words": pair_words(pair)}
        for k, pair in enumerate(pairs)
    ]
