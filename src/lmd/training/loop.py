"""Runs the stages of a method: epochs, validation, tracking, checkpoint, resume."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lmd import methods, run
from lmd.data.dataset.manifest import Dataset
from lmd.data.decode.cache import open_cache
from lmd.data.feed.loader import ImageSet, image_set, resident
from lmd.data.feed.sampling import instance_order
from lmd.data.feed.views import MEAN, STD
from lmd.errors import CheckpointError, DataError, SettingsError
from lmd.evaluation.metrics import balanced_accuracy, macro_auc
from lmd.models.classifier import build_classifier, head_name
from lmd.models.encoder import build_encoder, num_features
from lmd.models.inference import encode, recalibrate
from lmd.models.network import Network
from lmd.run import RunFolder
from lmd.runtime import Runtime, atomic_write, derive_seed, environment
from lmd.settings import CommonSettings, Tree
from lmd.stages.base import Stage, StageContext


class Progress(Protocol):
    """What shows a person how far a training is."""

    def caching(self, done: int, total: int) -> None:
        """Images decoded so far."""
        ...

    def started(self, stage: str, epoch: int, epochs: int) -> None:
        """An epoch begins."""
        ...

    def stepped(self, done: int, total: int) -> None:
        """Steps done of the present epoch or M- or E-step."""
        ...

    def finished(self, record: Tree) -> None:
        """An epoch has ended; `record` is its line of metrics.jsonl."""
        ...


class Silent:
    """Shows nothing."""

    def caching(self, done: int, total: int) -> None:
        """Shows nothing."""

    def started(self, stage: str, epoch: int, epochs: int) -> None:
        """Shows nothing."""

    def stepped(self, done: int, total: int) -> None:
        """Shows nothing."""

    def finished(self, record: Tree) -> None:
        """Shows nothing."""


@dataclass
class State:
    """Where a run stands: all that a checkpoint holds besides network and stage."""

    stage: int = 0
    epoch: int = 0
    best_score: float | None = None
    best_weights: dict[str, Tensor] | None = None
    best_artefacts: dict[str, Tensor] | None = None
    history: list[Tree] = field(default_factory=list[Tree])


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

    Raises:
        SettingsError, DataError, CheckpointError: one line on what is wrong.
    """
    _check_classes(dataset)
    sha256 = dataset.info.manifest_sha256
    first = None if start is None else run.read_stage1(start, sha256, settings)
    identity = run.identity(method, settings, dataset.folder, sha256, start)
    folder = _resumable(out, identity) if resume else run.create(out)
    if folder.model.is_file():
        return folder  # It had finished already.
    trainer = _Trainer(dataset, settings, folder, identity, progress or Silent(), first)
    trainer.run_stages()
    return trainer.finish()


def _check_classes(dataset: Dataset) -> None:
    """Refuses what no classifier can be trained on, also where the data set was not read from a folder."""
    if len(dataset.classes) < 2:
        raise DataError(f"a data set needs at least two classes, found {dataset.classes}")
    for name, count in zip(dataset.classes, dataset.counts("train"), strict=True):
        if not count:
            raise DataError(f"class '{name}' has no training image; a method needs some of each class")


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


class _Trainer:
    """One run: the network, the data, and where it stands."""

    def __init__(
        self,
        dataset: Dataset,
        settings: CommonSettings,
        folder: RunFolder,
        identity: Tree,
        progress: Progress,
        first: tuple[str, dict[str, Tensor]] | None,
    ) -> None:
        self.dataset, self.settings, self.folder = dataset, settings, folder
        self.identity, self.progress = identity, progress
        saved = run.load_checkpoint(folder) if folder.checkpoint.is_file() else None
        if saved is not None:
            run.check_identity(saved["identity"], identity)
        self.runtime = Runtime(settings.usable_precision)
        _make_deterministic()
        self._load_data()
        self.network = _new_network(settings, self.train.num_classes, fresh=saved is None and first is None)
        self.runtime.place(self.network)
        self.method = methods.load(identity["method"])
        self.stages = self.method.stages(settings, self.train.counts)
        self.state = State()
        self.stage: Stage | None = None
        if saved is not None:
            self._restore(saved)
        elif first is not None:
            self._take_over(*first)
        else:
            self._write_head()

    def _load_data(self) -> None:
        pixels = open_cache(self.dataset, self.settings.size, self.settings.crop, self.progress.caching)
        self.train = self._images("train", pixels)
        self.val = self._images("val", pixels) if self.dataset.counts("val").sum() else None

    def _images(self, split: str, pixels: np.ndarray) -> ImageSet:
        return resident(image_set(self.dataset, split, pixels), self.runtime.device)

    def _write_head(self) -> None:
        run.write_identity(self.folder, self.identity)
        environment_now = {**environment(), "precision": self.runtime.precision}
        atomic_write(self.folder.path / "environment.json", json.dumps(environment_now, indent=2) + "\n")

    def _take_over(self, head: str, weights: dict[str, Tensor]) -> None:
        """Starts at the second stage, from the network that another run's first stage handed over.

        Raises:
            SettingsError: the method has one stage only, or its second cannot work with that network.
        """
        if len(self.stages) < 2:
            raise SettingsError(
                f"method '{self.identity['method']}' has one stage: --from leaves it nothing to do"
            )
        self._load_network(head, weights)
        self.stages[1].prepare(self._context())  # Whether it can, before anything is written.
        self._load_network(head, weights)
        self._write_head()
        run.write_stage1(self.folder, weights, head)
        self.state = State(stage=1)
        self._checkpoint(None)

    def run_stages(self) -> None:
        """Runs what is left of the stages."""
        for number in range(self.state.stage, len(self.stages)):
            stage = self.stages[number]
            if self.stage is not stage:
                stage.prepare(self._context())
                self.stage = stage
            self._run_stage(stage)
            if number + 1 < len(self.stages):
                self.state = State(stage=number + 1, history=self.state.history)
                self._checkpoint(None)

    def _context(self) -> StageContext:
        return StageContext(self.network, self.train, self.runtime, self.progress.stepped, self.val)

    def _run_stage(self, stage: Stage) -> None:
        for epoch in range(self.state.epoch, stage.epochs):
            self.progress.started(stage.name, epoch, stage.epochs)
            start = time.perf_counter()
            losses = stage.run_epoch(epoch)
            validation = self._validate(stage.deliver())
            self._keep_best(stage, validation)
            record = {
                "stage": stage.name,
                "epoch": epoch,
                "losses": losses,
                "validation": validation,
                "seconds": round(time.perf_counter() - start, 3),
            }
            self.state.history.append(record)
            self.state.epoch = epoch + 1
            self._checkpoint(stage)
            self.progress.finished(record)
        self._hand_over(stage)

    def _validate(self, network: Network) -> Tree:
        if self.val is None:
            return {}
        probabilities = encode(network, self.val, self.runtime).logits.softmax(1).cpu().numpy()
        labels = self.val.labels.numpy()
        auc = macro_auc(labels, probabilities)
        return {
            "bacc": balanced_accuracy(labels, probabilities),
            "auc": auc if np.isfinite(auc) else None,
        }

    def _keep_best(self, stage: Stage, validation: Tree) -> None:
        """Keeps the weights of the last stage's best epoch so far; the first of equals wins.

        A stage before the last hands over its last epoch: how well a head does that the next stage
        throws away says little about the encoder under it (docs/paper.md).
        """
        score = validation.get("bacc")
        if stage is not self.stages[-1] or self.settings.select == "last" or score is None:
            return
        if self.state.best_score is None or score > self.state.best_score:
            self.state.best_score = score
            weights = stage.deliver().state_dict()
            self.state.best_weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
            self.state.best_artefacts = stage.artefacts()

    def _hand_over(self, stage: Stage) -> None:
        """Leaves in the network what the stage delivers: its last epoch, or the best of the last stage."""
        if stage is self.stages[0]:
            self.network.load_state_dict(stage.deliver().state_dict())
            self._recalibrate()
            run.write_stage1(self.folder, dict(self.network.state_dict()), head_name(self.network.classifier))
        if stage is self.stages[-1] and self.state.best_weights is not None:
            self.network.load_state_dict(self.state.best_weights)
            if stage is self.stages[0]:
                self._recalibrate()
        elif stage is not self.stages[0]:
            self.network.load_state_dict(stage.deliver().state_dict())

    def _recalibrate(self) -> None:
        if self.settings.bn_recalibrate:
            order = instance_order(len(self.train.labels), derive_seed(self.settings.seed, "recalibrate"), 0)
            recalibrate(self.network, self.train, self.runtime, order, self.settings.batch)

    def _checkpoint(self, stage: Stage | None) -> None:
        run.save_checkpoint(
            self.folder,
            {
                "identity": self.identity,
                "head": head_name(self.network.classifier),
                "network": dict(self.network.state_dict()),
                "stage_state": stage.state_dict() if stage else None,
                "state": vars(self.state),
            },
        )
        run.write_metrics(self.folder, self.state.history)

    def _restore(self, saved: Tree) -> None:
        self.state = State(**saved["state"])
        stage = self.stages[self.state.stage]
        self._load_network(saved["head"], saved["network"])
        stage.prepare(self._context())
        if saved["stage_state"] is not None:
            # `prepare` made what is new in this stage, such as a classifier: here are its weights.
            self.network.load_state_dict(saved["network"])
            self._restore_stage(stage, saved["stage_state"])
        self.stage = stage

    def _restore_stage(self, stage: Stage, state: Tree) -> None:
        try:
            stage.load_state_dict(state)
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"checkpoint {self.folder.checkpoint} does not fit stage '{stage.name}': another version of "
                "lmd wrote it; start the run anew in another folder"
            ) from error

    def _load_network(self, head: str, weights: dict[str, Tensor]) -> None:
        """Takes weights over, with the kind of classifier that they belong to."""
        channels = num_features(self.network.encoder)
        classifier = build_classifier(head, channels, self.train.num_classes, seed=0)
        self.network.classifier = classifier.to(self.runtime.device)
        self.network.load_state_dict(weights)

    def finish(self) -> RunFolder:
        """Writes the model folder and removes the checkpoint."""
        artefacts = self.state.best_artefacts or self.stages[-1].artefacts()
        run.write_model(self.folder, dict(self.network.state_dict()), self._card(), artefacts)
        self.folder.checkpoint.unlink(missing_ok=True)
        return self.folder

    def _card(self) -> Tree:
        info, settings = self.dataset.info, self.settings
        seconds = sum(record["seconds"] for record in self.state.history)
        return {
            "format": 1,
            "method": self.identity["method"],
            "encoder": settings.encoder,
            "head": head_name(self.network.classifier),
            "classes": self.dataset.classes,
            "groups": info.groups,
            "groups_rule": info.groups_rule,
            "preprocessing": {
                "size": settings.size,
                "crop": settings.crop,
                "mean": list(MEAN),
                "std": list(STD),
            },
            "precision": self.runtime.precision,
            "training_counts": self.train.counts.tolist(),
            "dataset": {
                "title": info.title,
                "source": info.source,
                "licence": info.licence,
                "manifest_sha256": info.manifest_sha256,
            },
            "selected_by": settings.select,
            "validation_bacc": self.state.best_score,
            "training_seconds": round(seconds, 3),
        }


def _new_network(settings: CommonSettings, num_classes: int, *, fresh: bool) -> Network:
    """A new network, drawn from the seed; one that a checkpoint will fill needs no weights."""
    torch.manual_seed(derive_seed(settings.seed, "encoder"))
    encoder = build_encoder(
        settings.encoder,
        pretrained=settings.pretrained and fresh,
        weights=settings.weights if fresh else None,
        partial_weights=settings.partial_weights,
    )
    head = build_classifier(
        "linear", num_features(encoder), num_classes, derive_seed(settings.seed, "classifier")
    )
    return Network(encoder, head)


def _make_deterministic() -> None:
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    # TF32 for the networks' convolutions; the matrix products of statistics and FDC keep all of fp32.
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = False
