"""Starts a training, or goes on with one: what is checked before anything runs."""

from __future__ import annotations

import logging
from pathlib import Path

from lmd import run
from lmd.data.dataset.manifest import Dataset
from lmd.errors import CheckpointError, DataError, SettingsError
from lmd.evaluation.leaks.earlier import refuse_known_test
from lmd.evaluation.leaks.own import refuse_other_data
from lmd.evaluation.leaks.seen import read_seen
from lmd.locks import locked, refuse_held
from lmd.models.encoder import check_encoder
from lmd.models.names import normalisation
from lmd.models.sources import at_hand
from lmd.planning import plan_of_run
from lmd.processes.starters import place
from lmd.run import RunFolder
from lmd.run_folder import create, is_new, remove_checkpoint, tidy
from lmd.settings import CommonSettings, Tree
from lmd.training.checkpoint import FirstStage
from lmd.training.loop import Trainer
from lmd.training.progress import Progress, Silent
from lmd.training.together import check_batch, lead, met, nothing_left

_log = logging.getLogger(__name__)


def train(
    dataset: Dataset,
    method: str,
    settings: CommonSettings,
    out: Path,
    *,
    start: RunFolder | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> RunFolder:
    """Trains a method on a data set and returns its run folder; the test split is not touched.

    `start` is a finished run whose first stage is taken over in place of this method's own.

    An interrupted run goes on from its last finished epoch with `resume`, to the same weights, bit for
    bit, that it would have reached uninterrupted: every random draw is a function of (seed, stage, epoch).
    Where there is nothing to go on with, `resume` starts a new run. The folder is locked meanwhile.

    Raises:
        SettingsError, DataError, CheckpointError: one line on what is wrong.
    """
    check_classes(dataset)
    check_tau(dataset, settings)
    check_batch(settings)
    sha256 = dataset.info.manifest_sha256
    progress = progress or Silent()
    first = None if start is None else _stage1(start, dataset, settings, progress)
    identity = run.identity(method, settings, dataset.folder, sha256, start)
    if not place().leads:
        return follow(dataset, settings, RunFolder(out), identity, first)
    refuse_held(out)
    folder = _usable(out, identity, resume)  # Before anything is made.
    if first is None and not folder.checkpoint.is_file() and not folder.model.is_file():
        check_fresh(settings)
        refuse_known_test(settings.weights, dataset, progress.caching)
    if resume and is_new(out):
        _log.warning("%s holds no run yet: a new one begins", out)
    with locked(out):
        _usable(out, identity, resume)  # Another process may have been here meanwhile.
        tidy(folder)
        if not folder.model.is_file():
            taken_over = identity["from_sha256"] is not None
            progress.planned(plan_of_run(dataset, method, settings, taken_over, place().world))
            runtime = lead(dataset, settings, identity, progress)
            Trainer(dataset, settings, folder, identity, progress, first, runtime).run()
        elif place().world > 1:
            nothing_left(settings)
        remove_checkpoint(folder)  # The model is whole.
    return folder


def follow(
    dataset: Dataset, settings: CommonSettings, folder: RunFolder, identity: Tree, first: FirstStage | None
) -> RunFolder:
    """Trains as one of several processes that is not the first: it writes nothing, and says nothing."""
    runtime = met(settings, identity)
    if runtime is not None:
        Trainer(dataset, settings, folder, identity, Silent(), first, runtime).run()
    return folder


def _usable(out: Path, identity: Tree, resume: bool) -> RunFolder:
    """The folder of a new run, or of the run to go on with."""
    if resume and not is_new(out):
        return _resumable(out, identity)
    return create(out)


def _stage1(start: RunFolder, dataset: Dataset, settings: CommonSettings, progress: Progress) -> FirstStage:
    """What a run's first stage handed over; this run must normalise images as that one did."""
    refuse_other_data(start, dataset, progress.caching)
    found = run.read_stage1(start, settings)
    made = run.read_model_card(start).preprocessing
    wanted = normalisation(settings.encoder)
    if (made.mean, made.std) != wanted:
        raise SettingsError(
            f"--from {start.path}: its images were normalised by mean and std {made.mean}, {made.std}, those "
            f"of '{settings.encoder}' are by {wanted[0]}, {wanted[1]}; train its first stage anew"
        )
    return FirstStage(*found, read_seen(start))


def check_fresh(settings: CommonSettings, *, download: bool = True) -> bool:
    """Checks the encoder that a new run begins with, before images are decoded or a folder is made.

    Without `download`, weights that are not on this machine are not looked at. Returns whether they are here.

    Raises:
        SettingsError, CheckpointError: one line on what is wrong with its name, its size or its weights.
    """
    if settings.freeze != "none" and not settings.pretrained and settings.weights is None:
        _log.warning(
            "freeze = %s keeps weights that were drawn at random: start from trained ones", settings.freeze
        )
    here = download or at_hand(settings.encoder, settings.pretrained, settings.weights)
    check_encoder(
        settings.encoder,
        size=settings.size,
        pretrained=settings.pretrained and here,
        weights=settings.weights,
        partial_weights=settings.partial_weights,
    )
    return here


def check_classes(dataset: Dataset) -> None:
    """Refuses what no classifier can be trained on, also where the data set was not read from a folder.

    Raises:
        DataError: there are no training images, or none of a class, or a single class.
    """
    if not dataset.counts("train").any():
        raise DataError(
            f"{dataset.folder} has no training image: it is for 'lmd evaluate RUN --data' alone; to train on "
            "it, prepare it with a share of training in --fractions, or with 'train' rows"
        )
    if len(dataset.classes) < 2:
        raise DataError(f"a data set needs at least two classes, found {dataset.classes}")
    for name, count in zip(dataset.classes, dataset.counts("train"), strict=True):
        if not count:
            raise DataError(f"class '{name}' has no training image; a method needs some of each class")


def check_tau(dataset: Dataset, settings: CommonSettings) -> None:
    """Refuses to choose tau on validation images that are not there.

    Raises:
        SettingsError: the way out is named.
    """
    if settings.tau == "validation" and not dataset.counts("val").any():
        raise SettingsError(
            f"setting tau = 'validation': {dataset.folder} has no validation image to choose it by: set a "
            "number, such as tau=0.75, or prepare the data set with a share of validation in --fractions"
        )


def _resumable(out: Path, identity: Tree) -> RunFolder:
    """The run folder to go on with; what it started from need not be named again once it has a checkpoint."""
    folder = RunFolder(out)
    saved = run.read_identity(folder)
    if identity["from_sha256"] is None and saved["from_sha256"] is not None:
        if not folder.checkpoint.is_file() and not folder.model.is_file():
            raise CheckpointError(
                f"{out} was stopped before it had taken over its first stage: name --from again"
            )
        identity["from_sha256"] = saved["from_sha256"]
    run.check_identity(saved, identity)
    return folder
