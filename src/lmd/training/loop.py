"""Runs the stages of a method: epochs, validation, checkpoint, and the finished model."""

from __future__ import annotations

import time

import numpy as np
from torch import Tensor

from lmd import methods, run, stopping
from lmd.data.dataset.manifest import Dataset
from lmd.data.decode.cache import open_cache
from lmd.data.feed.loader import ImageSet, image_set, resident
from lmd.data.feed.sampling import instance_order
from lmd.errors import SettingsError
from lmd.evaluation.leaks.earlier import seen_before
from lmd.evaluation.leaks.seen import begun_with, joined, seen_in_training, still_seen, write_seen
from lmd.evaluation.predict import Model
from lmd.evaluation.probability.decisions import log_prior
from lmd.models.classifier import build_classifier, classifier_kind
from lmd.models.encoder import num_features
from lmd.models.inference import recalibrate
from lmd.models.network import Network
from lmd.run import RunFolder
from lmd.runtime import Runtime, derive_seed, make_deterministic
from lmd.settings import CommonSettings, Tree
from lmd.stages.base import Stage, StageContext
from lmd.training import checkpoint, surroundings
from lmd.training.checkpoint import FirstStage, State
from lmd.training.finish import Trained, card_of, card_with_outputs
from lmd.training.fresh import new_network
from lmd.training.progress import Progress
from lmd.training.saving import Saver
from lmd.training.selection import CHOSEN_BY, Selection, validate
from lmd.training.together import apart, as_first, same_network, same_start, stop_together, training_together


class Trainer:
    """One run: the network, the data, and where it stands."""

    def __init__(
        self,
        dataset: Dataset,
        settings: CommonSettings,
        folder: RunFolder,
        identity: Tree,
        progress: Progress,
        first: FirstStage | None,
        runtime: Runtime,
    ) -> None:
        """Loads the data, builds the network, and goes to where the run stands."""
        self.dataset, self.settings, self.folder = dataset, settings, folder
        self.identity, self.progress = identity, progress
        self.saver = Saver(folder)
        saved = checkpoint.load(folder, identity)
        self.runtime, self.leads = runtime, runtime.rank == 0
        same_start(runtime, saved)
        make_deterministic()
        self._load_data()
        self.network = new_network(settings, self.train.num_classes, fresh=saved is None and first is None)
        self.runtime.place(self.network)
        apart(self.network, runtime)
        self.stages = methods.load(identity["method"]).stages(settings, self.train.counts)
        self.state = State()
        self.stage: Stage | None = None
        if saved is not None:
            self._restore(saved)
        elif first is not None:
            self._take_over(first)
        else:
            self.seen = begun_with(self.seen, seen_before(settings.weights))
            self._write_head()

    def _load_data(self) -> None:
        pixels = open_cache(self.dataset, self.settings.size, self.settings.crop, self.progress.caching)
        self.seen = seen_in_training(self.dataset, pixels)
        self.train = self._images("train", pixels)
        self.val = self._images("val", pixels) if self.dataset.counts("val").sum() else None

    def _images(self, split: str, pixels: np.ndarray) -> ImageSet:
        return resident(image_set(self.dataset, split, pixels), self.runtime.device)

    def _write_head(self) -> None:
        """Writes what a run folder begins with: its settings and its environment."""
        if not self.leads:
            return
        self.folder.metrics.unlink(missing_ok=True)  # Of epochs that a killed run had not saved.
        run.write_identity(self.folder, self.identity)
        write_seen(self.folder, self.seen)
        surroundings.write(self.folder, self.runtime)

    def _take_over(self, first: FirstStage) -> None:
        """Starts at the second stage, from the network that another run's first stage handed over.

        Raises:
            SettingsError: the method has one stage only, or its second cannot work with that network.
        """
        if len(self.stages) < 2:
            raise SettingsError(
                f"method '{self.identity['method']}' has one stage: --from leaves it nothing to do"
            )
        self._load_network(first.classifier, first.weights)
        self._prepare(self.stages[1])  # Whether it can, before anything is written.
        self._load_network(first.classifier, first.weights)
        self.seen = joined(self.seen, first.seen)
        self._write_head()
        self._write_stage1(first.weights, first.classifier)
        self.state = State(stage=1)
        self._save_between()

    def _restore(self, saved: Tree) -> None:
        self.seen = still_seen(self.folder, self.seen)
        self.state = checkpoint.state_of(saved)
        if self.leads:
            surroundings.compare(self.folder, self.runtime)
            run.write_metrics(self.folder, self.state.history)  # It may lack what the checkpoint has.
        stage = self.stages[self.state.stage]
        self._load_network(saved["classifier"], saved["network"])
        self._prepare(stage)
        if saved["stage_state"] is not None:
            # `prepare` made what is new in this stage, such as a classifier: here are its weights.
            self.network.load_state_dict(saved["network"])
            checkpoint.restore_stage(self.folder, stage, saved["stage_state"])
        self.stage = stage

    def _load_network(self, kind: str, weights: dict[str, Tensor]) -> None:
        """Takes weights over, with the kind of classifier that they belong to."""
        channels = num_features(self.network.encoder)
        classifier = build_classifier(kind, channels, self.train.num_classes, seed=0)
        self.network.classifier = classifier.to(self.runtime.device)
        self.network.load_state_dict(weights)

    def _prepare(self, stage: Stage) -> None:
        by = CHOSEN_BY[self.settings.select] if stage is self.stages[-1] else None
        self.selection = Selection(stage, self.state.best, by, self._validate)
        stage.prepare(
            StageContext(
                self.network,
                self.train,
                self.runtime,
                self._stepped,
                self.val,
                self.selection.offer,
            )
        )

    def _validate(self, network: Network) -> Tree:
        shares = log_prior(self.train.counts)
        found = validate(network, self.val, self.runtime, self.settings.tau, shares)
        return as_first(found, self.runtime)

    def _stepped(self, done: int, total: int) -> None:
        stopping.check()
        self.saver.check()
        stop_together(self.runtime)
        self.progress.stepped(done, total)

    def run(self) -> RunFolder:
        """Runs what is left of the stages and writes the model."""
        with self.saver:
            with training_together(self.runtime):
                self._run_stages()
            return self._finish() if self.leads else self.folder

    def _run_stages(self) -> None:
        for number in range(self.state.stage, len(self.stages)):
            stage = self.stages[number]
            if self.stage is not stage:
                self._prepare(stage)
                self.stage = stage
            self._run_stage(stage)
            if number + 1 < len(self.stages):
                self.state = State(stage=number + 1, history=self.state.history)
                self._save_between()

    def _run_stage(self, stage: Stage) -> None:
        for epoch in range(self.state.epoch, stage.epochs):
            self.progress.started(stage.name, epoch, stage.epochs)
            record = self._run_epoch(stage, epoch)
            self.state.history.append(record)
            self.state.epoch = epoch + 1
            self._keep(stage)
            self.progress.finished(record)
        self._hand_over(stage)

    def _run_epoch(self, stage: Stage, epoch: int) -> Tree:
        """Runs one epoch and returns its line of metrics.jsonl."""
        start = time.perf_counter()
        self.selection.validation = {}
        losses = stage.run_epoch(epoch)
        same_network(self.network)
        return {
            "stage": stage.name,
            "epoch": epoch,
            "losses": losses,
            "validation": self.selection.validation,
            "seconds": round(time.perf_counter() - start, 3),
        }

    def _hand_over(self, stage: Stage) -> None:
        """Leaves in the network what the stage delivers: its last epoch, or the best of the last stage."""
        first, best = stage is self.stages[0], self.state.best.weights
        if first:
            self.network.load_state_dict(stage.deliver().state_dict())
            self._recalibrate()
            kind = classifier_kind(self.network.classifier)
            self._write_stage1(dict(self.network.state_dict()), kind)
        if stage is self.stages[-1] and best is not None:
            self.network.load_state_dict(best)
            if first:
                self._recalibrate()
        elif not first:
            self.network.load_state_dict(stage.deliver().state_dict())

    def _recalibrate(self) -> None:
        if self.settings.bn_recalibrate:
            order = instance_order(len(self.train.labels), derive_seed(self.settings.seed, "recalibrate"), 0)
            recalibrate(self.network, self.train, self.runtime, order, self.settings.batch)

    def _write_stage1(self, weights: dict[str, Tensor], kind: str) -> None:
        if self.leads:
            run.write_stage1(self.folder, weights, kind)

    def _keep(self, stage: Stage) -> None:
        """Keeps the state at the end of an epoch: it is written if it is time, and after the last one."""
        if self.leads:
            last = stage is self.stages[-1] and self.state.epoch == stage.epochs
            self.saver.keep(lambda: self._whole(stage), now=last)
            run.write_metrics(self.folder, self.state.history)

    def _save_between(self) -> None:
        """Saves the state between two stages."""
        if self.leads:
            self.saver.save(lambda: self._whole(None))
            run.write_metrics(self.folder, self.state.history)

    def _whole(self, stage: Stage | None) -> Tree:
        return checkpoint.whole(self.identity, self.network, stage, self.state)

    def _finish(self) -> RunFolder:
        best, artefacts = self.state.best, self.state.best.artefacts or self.stages[-1].artefacts()
        write_seen(self.folder, self.seen)
        seconds = sum(record["seconds"] for record in self.state.history)
        precision = self.runtime.precision
        card = card_of(self.dataset, self.identity, self.settings, self.network, best, precision, seconds)
        trained = Trained(Model(self.network, card, self.runtime), self.settings, self.train, self.val)
        card = card_with_outputs(trained, self.dataset, self.folder)
        run.write_model(self.folder, dict(self.network.state_dict()), card, artefacts)
        return self.folder
