"""What lies in the runs' folders: whether it is ours, and whether its test belongs to its model.

A run is used again where its method, the method's file, settings, data, images and weights are as today.
Its test is used again where model, test images, predictions and evaluation are those that the record of the
test names. Else it is tested anew, which takes seconds.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from lmd.data.dataset.manifest import Dataset
from lmd.errors import CheckpointError
from lmd.evaluation.leaks.seen import files_of, read_seen
from lmd.experiments.runs import Run, sha256_of
from lmd.files import atomic_write
from lmd.locks import refuse_held
from lmd.reading import UnreadableError, json_of, text_of
from lmd.run import check_identity, identity, read_identity
from lmd.settings import Tree

_RECORD = "tested.json"


class ImageFiles:
    """The hashes of image files, looked up once for all runs on a data set."""

    def __init__(self) -> None:
        """Knows no data set yet."""
        self._known: dict[tuple[Path, str], list[str]] = {}

    def of(self, dataset: Dataset, split: str) -> list[str]:
        """Returns the hashes of the image files of a split, in table order."""
        key = (dataset.folder, split)
        if key not in self._known:
            self._known[key] = files_of(dataset, split)[0]
        return self._known[key]


def check_begun(runs: Sequence[Run]) -> None:
    """Checks that what lies in the runs' folders is theirs: of these settings, data, images and weights.

    A run of something else without a finished epoch is no loss: `begin_anew` removes it in its turn.

    Raises:
        CheckpointError: a run of something else lies there; one line names the difference.
    """
    images = ImageFiles()
    for run in runs:
        if run.finished or run.folder.checkpoint.is_file():
            reason = _foreign(run, images)
            if reason is not None:
                raise CheckpointError(f"{run.folder.path} is not a run of this experiment: {reason}")


def begin_anew(run: Run) -> None:
    """Removes what a run's folder holds where there is nothing to go on with, or only of something else.

    Raises:
        CheckpointError: another process is writing it.
    """
    refuse_held(run.folder.path)
    if not run.folder.path.exists() or run.finished or run.folder.checkpoint.is_file():
        return
    if not run.begun or _foreign(run, ImageFiles()) is not None:
        shutil.rmtree(run.folder.path)


def _foreign(run: Run, images: ImageFiles) -> str | None:
    """Why what lies in a run's folder is not that run; None where it is."""
    saved = read_identity(run.folder)
    wanted = identity(run.row.method, run.settings, run.dataset.folder, run.dataset.info.manifest_sha256)
    try:
        check_identity(saved, wanted | {"from_sha256": saved["from_sha256"]})
    except CheckpointError as error:
        return str(error)
    seen = read_seen(run.folder)  # None of a run of an earlier version, which kept no hashes.
    now = [sorted(images.of(run.dataset, split)) for split in ("train", "val")]
    if seen is None or [seen.train.files, seen.val.files] == now:
        return None
    return (
        f"it was trained on other image files than {run.dataset.folder} has now, though the manifest is the "
        "same; put the images back, or choose another --out"
    )


def write_tested(run: Run) -> None:
    """Records which model and which images the test in a run's folder is of."""
    atomic_write(run.folder.path / _RECORD, json.dumps(_standing(run, ImageFiles()), indent=1) + "\n")


def is_tested(run: Run, images: ImageFiles) -> bool:
    """Says whether the test in a run's folder is that of its model on the images that are there now."""
    if not run.finished or not all(path.is_file() for path in _files(run).values()):
        return False
    try:
        saved = json_of(text_of(run.folder.path / _RECORD))
    except (OSError, UnreadableError):
        return False  # Of an earlier version, or damaged.
    return saved == _standing(run, images)


def _standing(run: Run, images: ImageFiles) -> Tree:
    """The hashes of all that a test depends on, and of what it left."""
    of_images = hashlib.sha256("".join(images.of(run.dataset, "test")).encode()).hexdigest()
    return {name: sha256_of(path) for name, path in _files(run).items()} | {"images": of_images}


def _files(run: Run) -> dict[str, Path]:
    folder = run.folder
    return {
        "weights": folder.weights,
        "model": folder.model,
        "predictions": folder.predictions("test"),
        "evaluation": folder.evaluation("test"),
    }
