"""What the image files of a data set are, and which of them are missing, damaged or changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lmd.data.audit.looks import Looks
from lmd.data.audit.results import BrokenFile, FileFacts
from lmd.data.dataset.info import MANIFEST
from lmd.data.dataset.manifest import Dataset


def file_facts(dataset: Dataset, looks: Looks) -> FileFacts:
    """Returns sizes and kinds, and the files that are missing, damaged or younger than the manifest."""
    names = dataset.table["file"].tolist()
    records = looks.records[looks.good()]
    width, height = records["width"].astype(float), records["height"].astype(float)
    sizes = zip(records["width"], records["height"], strict=True)
    return FileFacts(
        read=len(records),
        missing=[names[row] for row in looks.missing],
        broken=[BrokenFile(file=names[row], reason=reason) for row, reason in looks.broken.items()],
        changed=_changed(dataset),
        formats=_tally(records["format"]),
        modes=_tally(records["mode"]),
        sizes=_tally(f"{w} x {h}" for w, h in sizes),
        shorter_side=_spread(np.minimum(width, height)),
        aspect=_spread(width / np.maximum(height, 1)),
        largest_of_16_bits=_largest(records["top"]) if dataset.info.recipe.get("bits") is None else None,
    )


def _changed(dataset: Dataset) -> list[str]:
    """The files that were written after the manifest: they may be other images than those prepared."""
    made = _written(dataset.folder / MANIFEST)
    if made is None:
        return []
    written = ((file, _written(dataset.path(file))) for file in dataset.table["file"])
    return [file for file, time in written if time is not None and time > made]


def _written(path: Path) -> int | None:
    """When a file was written last, in nanoseconds; None where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _largest(tops: np.ndarray) -> int | None:
    return int(tops.max(initial=0)) or None


def _tally(values: Iterable[object]) -> dict[str, int]:
    """How often each value is there, most frequent first."""
    return {name or "unknown": count for name, count in Counter(map(str, values)).most_common()}


def _spread(values: np.ndarray) -> list[float] | None:
    """Least, median and greatest; None of nothing."""
    return [round(float(value), 3) for value in np.percentile(values, [0, 50, 100])] if len(values) else None
