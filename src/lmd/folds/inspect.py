"""Looks through the folds of a data set."""

from __future__ import annotations

from lmd.data.audit.fingerprint import fingerprint
from lmd.data.audit.results import Fingerprint
from lmd.data.dataset.folds_folder import Folds
from lmd.data.dataset.manifest import Dataset
from lmd.parallel import Steps


def inspect_either(
    data: Dataset | Folds, progress: Steps, near: int, look: bool
) -> Fingerprint | dict[str, Fingerprint]:
    """Returns what to know of a data set, or of each of its folds; every image is opened once."""
    if isinstance(data, Folds):
        return {name: fingerprint(fold, progress, near, look) for name, fold in data.datasets.items()}
    return fingerprint(data, progress, near, look)
