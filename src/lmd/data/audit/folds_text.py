"""The folds of a data set in words, for the terminal: what each has, and what is wrong in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from lmd.data.audit.results import Fingerprint
from lmd.data.audit.text import format_fingerprint
from lmd.data.dataset.checks import SPLITS
from lmd.data.dataset.folds_folder import Folds
from lmd.files import atomic_write
from lmd.text import in_columns, numbered


def folds_summary(folds: Folds) -> list[str]:
    """Returns what `prepare` says of the folder of folds it made."""
    first = folds.first
    lines = [
        f"{folds.folder}: {len(first.table)} images, {len(folds.classes)} classes, {len(folds.names)} folds "
        f"({folds.names[0]} ... {folds.names[-1]})"
    ]
    counts = {
        name: {split: data.counts(split).tolist() for split in SPLITS}
        for name, data in folds.datasets.items()
    }
    lines += in_columns(_total_rows(counts))
    lines += in_columns(_test_rows(folds.classes, counts))
    if first.info.recipe.get("skipped", 0):
        listed = first.folder / "skipped.csv"
        lines.append(
            f"{numbered(first.info.recipe['skipped'], 'image or row', 'images or rows')} left out, "
            f"listed in {listed}"
        )
    return lines


def format_folds(found: Mapping[str, Fingerprint]) -> list[str]:
    """Returns the fingerprints of all folds as lines: the first in full, then what the others differ in."""
    name, first = next(iter(found.items()))
    counts = {fold: entry.counts for fold, entry in found.items()}
    lines = [f"{len(found)} folds of the same images; {name} in full:", *format_fingerprint(first)]
    lines += ["each fold:", *in_columns(_total_rows(counts)), *in_columns(_test_rows(first.classes, counts))]
    known = set(first.wrong)
    return [*lines, *(f"{fold}: {line}" for fold, line in wrong_in(found) if line not in known)]


def wrong_in(found: Mapping[str, Fingerprint]) -> list[tuple[str, str]]:
    """Returns what is wrong in each fold, one line each."""
    return [(name, line) for name, entry in found.items() for line in entry.wrong]


def write_fingerprints(path: Path, found: Mapping[str, Fingerprint]) -> Path:
    """Writes the fingerprint of each fold, by name, as JSON, whole or not at all, and returns its path."""
    tree = {name: entry.model_dump(mode="json", by_alias=True) for name, entry in found.items()}
    atomic_write(path, json.dumps(tree, indent=2, ensure_ascii=False) + "\n")
    return path


def _total_rows(counts: Mapping[str, Mapping[str, list[int]]]) -> list[list[str]]:
    """The images of each split in each fold."""
    rows = [[name, *(str(sum(of_fold[split])) for split in SPLITS)] for name, of_fold in counts.items()]
    return [["fold", *SPLITS], *rows]


def _test_rows(classes: list[str], counts: Mapping[str, Mapping[str, list[int]]]) -> list[list[str]]:
    """The test images of each class in each fold."""
    rows = [
        [name, *(str(of_fold["test"][k]) for of_fold in counts.values())] for k, name in enumerate(classes)
    ]
    return [["test images", *counts], *rows]
