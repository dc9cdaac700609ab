"""Whether a data set is the one that a run was trained on: the same manifest, and the same image files."""

from __future__ import annotations

from pathlib import Path

from lmd.data.dataset.manifest import Dataset, read_dataset
from lmd.data.decode.hashes import file_hashes
from lmd.errors import DataError, LmdError
from lmd.evaluation.leaks.seen import SeenImages, files_of, read_seen
from lmd.model_card import ModelCard
from lmd.parallel import Steps, quiet
from lmd.run import RunFolder, read_identity, read_model_card


def same_manifest(dataset: Dataset, card: ModelCard) -> bool:
    """Returns whether a data set has the names, labels and splits of that of the training."""
    return dataset.info.manifest_sha256 == card.dataset.manifest_sha256


def is_own(run: RunFolder, card: ModelCard, dataset: Dataset) -> bool:
    """Returns whether this is the data set that a run was trained on, wherever it lies.

    A manifest holds names alone, and two clinics may name their files alike: the files decide. A run of an
    earlier version keeps no hashes of them. They are then those of its training folder, where that is there.
    """
    if not same_manifest(dataset, card):
        return False
    seen = read_seen(run)
    if seen is not None:
        return _holds(seen, dataset)
    recorded = training_set(run, card)
    if recorded is None or recorded.folder.resolve() == dataset.folder.resolve():
        return True
    try:
        return file_hashes(recorded) == file_hashes(dataset)
    except LmdError:  # Its images are gone.
        return True


def _holds(seen: SeenImages, dataset: Dataset, progress: Steps = quiet) -> bool:
    """Whether a data set trains and validates on these images."""
    now = [sorted(files) for files in files_of(dataset, "train", "val", progress=progress)]
    return now == [seen.train.files, seen.val.files]


def training_set(run: RunFolder, card: ModelCard) -> Dataset | None:
    """Returns the data set that a run was trained on, where it still lies where it lay."""
    try:
        dataset = read_dataset(Path(read_identity(run)["data"]), check_files=False)
    except LmdError:
        return None
    return dataset if same_manifest(dataset, card) else None


def refuse_other_data(start: RunFolder, dataset: Dataset, progress: Steps = quiet) -> None:
    """Refuses to go on, on this data set, with the first stage of a run on another.

    Raises:
        CheckpointError: the run is not finished.
        DataError: what differs: the images, or the division of the same images.
    """
    card = read_model_card(start)
    if is_own(start, card, dataset):
        return
    told = f"--from {start.path}: it was trained on"
    if same_manifest(dataset, card):
        raise DataError(
            f"{told} other images than those of {dataset.folder}, though names, labels and splits are equal"
        )
    seen = read_seen(start)
    files = set(files_of(dataset, None, progress=progress)[0])
    if seen is not None and files.issuperset([*seen.train.files, *seen.val.files]):
        raise DataError(
            f"{told} the images of {dataset.folder}, but with another division or other labels (another "
            f"--seed of 'lmd prepare'?): take its dataset folder, {read_identity(start)['data']}"
        )
    raise DataError(f"{told} another data set ({card.dataset.title})")
