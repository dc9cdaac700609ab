"""Weights of an earlier run know the images of that run: what this means for a new data set."""

from __future__ import annotations

import logging

from lmd.data.dataset.manifest import Dataset
from lmd.errors import DataError
from lmd.evaluation.leaks.overlap import groups_of_training, named_groups
from lmd.evaluation.leaks.own import is_own, training_set
from lmd.evaluation.leaks.seen import Hashes, files_of, read_seen
from lmd.models.own_run import own_run
from lmd.parallel import Steps, quiet
from lmd.run import RunFolder, read_model_card

_log = logging.getLogger(__name__)


def seen_before(weights: str | None) -> Hashes | None:
    """Returns the images behind the weights that a training begins with; None where they are of no run."""
    run = own_run(weights)
    seen = None if run is None else read_seen(run)
    return None if seen is None else seen.everything()


def refuse_known_test(weights: str | None, dataset: Dataset, progress: Steps = quiet) -> None:
    """Refuses weights of a run on another data set that has seen images of this one's test split.

    Warns of validation images that it has seen, and of groups that have the names of its own.

    Raises:
        CheckpointError: the run is not finished.
        DataError: it has seen test images.
    """
    run = own_run(weights)
    if run is None or is_own(run, read_model_card(run), dataset):
        return
    known = _files_behind(run)
    if known is None:
        text = (
            "--weights %s: it keeps no image hashes, so that it is not known which images it was trained on"
        )
        _log.warning(text, run.path)
        return
    test, val = files_of(dataset, "test", "val", progress=progress)
    _refuse_test(run, dataset, [name in known for name in test])
    shared = sum(name in known for name in val)
    if shared:
        text = "--weights %s was trained on %d of the %d validation images: validation will look too good"
        _log.warning(text, run.path, shared, len(val))
    _warn_of_groups(run, dataset)


def _files_behind(run: RunFolder) -> set[str] | None:
    """The image files that a run has seen: from its hashes, or from its data set where it keeps none."""
    seen = seen_before(str(run.path))
    if seen is not None:
        return set(seen.files)
    recorded = training_set(run, read_model_card(run))
    if recorded is None:
        return None
    try:
        return {name for part in files_of(recorded, "train", "val") for name in part}
    except DataError:  # Its images are gone.
        return None


def _refuse_test(run: RunFolder, dataset: Dataset, known: list[bool]) -> None:
    if any(known):
        first = dataset.split("test")["id"].to_numpy()[known.index(True)]
        raise DataError(
            f"--weights {run.path} was trained on {sum(known)} of the {len(known)} test images of "
            f"{dataset.folder} (first: {first}): its test would measure images that the encoder knows; take "
            "weights that have not seen them, or prepare the data with other test images"
        )


def _warn_of_groups(run: RunFolder, dataset: Dataset) -> None:
    """Two hospitals may count their patients alike: equal names are told, and not refused."""
    recorded = training_set(run, read_model_card(run))
    names = named_groups(dataset.split("test"))
    shared = 0 if recorded is None else len(names & groups_of_training(recorded))
    if shared:
        _log.warning(
            "--weights %s was trained on groups (patients, lesions) with the names of %d of the %d of the "
            "test split: if they are the same, the test will look too good",
            run.path, shared, len(names),
        )  # fmt: skip
