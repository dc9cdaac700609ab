"""The Python interface to what a person reads of runs; `import lmd` offers it beside that of `api`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lmd.run import RunFolder

if TYPE_CHECKING:
    from lmd.data.dataset.folds_folder import Folds
    from lmd.data.dataset.manifest import Dataset


def report(
    run: RunFolder | Path | str,
    split: str = "test",
    *,
    data: Dataset | Folds | Path | str | None = None,
    pictures: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Writes the report of a run anew, with pictures of its mistakes, and returns the path of report.html.

    Args:
        run: a finished run, measured by `evaluate`.
        split: the split whose mistakes are shown.
        data: the data set that was measured, where it is not where the run knows it.
        pictures: without them no image is opened, and no network.
        say: called with why there are no pictures, where they were wanted and there are none.

    Raises:
        CheckpointError: the run has no finished model.
        DataError: the data set that is named is not the one that was measured.
    """
    from lmd.api import read_dataset
    from lmd.folds.either import report_either
    from lmd.folds.folder import opened

    folder = run if isinstance(run, RunFolder) else opened(Path(run))
    dataset = read_dataset(data) if isinstance(data, str | Path) else data
    path, why = report_either(folder, split, dataset, pictures)
    if pictures and why is not None:
        say(f"no pictures: {why}")
    return path
