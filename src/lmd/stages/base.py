"""What every method is made of: the Stage, and the Supervised stage with four points to override."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from lmd.data.feed.cuts import batch_sizes
from lmd.data.feed.loader import Batch, ImageSet, batches_of
from lmd.data.feed.sampling import Sampling, sampling_order
from lmd.data.feed.views import seeded_view
from lmd.errors import SettingsError
from lmd.graphed import Branched, GraphedStep, Inputs
from lmd.models.classifier import build_classifier
from lmd.models.encoder import num_features
from lmd.models.network import Network
from lmd.processes.collectives import averaged
from lmd.processes.shares import Share
from lmd.runtime import Runtime, derive_seed
from lmd.settings import CommonSettings, Count, Optimisation, Settings
from lmd.stages.divided import Divided
from lmd.stages.optimisation import (
    Losses,
    RunningMeans,
    build_optimiser,
    load_optimiser,
    seed_epoch,
    set_rate,
)


@dataclass(frozen=True)
class StageContext:
    """What a stage works with."""

    network: Network
    train: ImageSet
    runtime: Runtime
    # Called after each optimisation step with the steps done and the steps of this epoch.
    on_step: Callable[[int, int], None]
    # What a method may choose by, such as tau; None where there is no validation split.
    val: ImageSet | None = None
    # Called where the stage has a network that validation may judge and keep: what `deliver` then returns.
    offer: Callable[[], None] = lambda: None


class Stage(Protocol):
    """A part of a training: epochs that change a network, resumable at each epoch's end."""

    name: str
    epochs: int

    def prepare(self, context: StageContext) -> None:
        """Takes the network over; makes optimisers and whatever else it needs."""
        ...

    def run_epoch(self, epoch: int) -> Losses:
        """Runs one epoch, a pure function of (state, seed, epoch); returns the mean of each loss term.

        It calls `context.offer()` where its network may be chosen: mostly at its end.
        """
        ...

    def deliver(self) -> Network:
        """Returns the network that this stage would hand over now."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Returns all that the next epoch depends on, beyond the network: tensors and JSON values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        ...

    def artefacts(self) -> dict[str, Tensor]:
        """Returns tensors worth keeping beside the model, such as class Gaussians."""
        ...


class SupervisedSettings(Settings):
    """A supervised stage: how long, how it is optimised, and which images it sees how often."""

    epochs: Count = 100
    """passes over the training images (authors' code of LMD: 100)"""
    optimisation: Optimisation = Optimisation()
    """gradient descent of the stage (rate: LMD paper, section 4.2; the rest: authors' code of LMD)"""
    sampling: Sampling = "instance"
    """how often an epoch has an image: each once (paper), or by another rule"""


class Supervised(Divided):
    """A stage of gradient descent on batches of training images.

    Override `order` (which images, in which sequence), `loss` (a dict of named terms; "total" is
    back-propagated, all are logged), `views` or `view_names` (what of a batch the loss is given) and
    `after_step`. A method with another classifier names it in `wanted_classifier`.

    On a GPU a step may be replayed as a CUDA graph (`lmd.graphed`), if its class says `capturable`
    itself: a subclass that says nothing runs step by step. Such a class takes each number that changes from
    step to step from `self.now`, where `changing` puts it: another number would be recorded for ever.
    """

    name = "stage1"
    view_names: tuple[str, ...] = ("weak",)
    # Kind and scale of the classifier that the stage begins with; None keeps the one it is given.
    wanted_classifier: tuple[str, float | None] | None = None
    capturable = False

    def __init__(self, common: CommonSettings, stage: SupervisedSettings) -> None:
        """Keeps the settings; nothing is built before `prepare`."""
        self.common = common
        self.epochs = stage.epochs
        self.optimisation = stage.optimisation
        self.sampling: Sampling = stage.sampling
        self.step = 0

    def prepare(self, context: StageContext) -> None:
        """Takes the network over, gives it its classifier and makes the optimiser."""
        self.context, self.network = context, context.network
        if self.wanted_classifier is not None:
            seed = derive_seed(self.common.seed, self.name, "head")
            new_classifier(context, *self.wanted_classifier, seed)
        self.optimiser = build_optimiser(self.trained(), self.optimisation, self.common)
        device = context.runtime.device
        for name, value in vars(self).items():
            if isinstance(value, Tensor):  # What a loss needs of its own lies where the batches are.
                setattr(self, name, value.to(device))
        # Several processes exchange gradients, which a graph does not hold.
        capturable = bool(vars(type(self)).get("capturable", False)) and context.runtime.world == 1
        self.train_step = GraphedStep(
            self._train_step, device, f"{self.name} of {type(self).__name__}", capturable
        )

    def trained(self) -> nn.Module:
        """Returns the part of the network that the optimiser moves: all of it."""
        return self.network

    def order(self, epoch: int) -> np.ndarray:
        """Returns the rows of an epoch, as the setting `sampling` says: those of all processes together."""
        return sampling_order(
            self.sampling,
            self.context.train.labels.numpy(),
            derive_seed(self.common.seed, self.name),
            epoch,
            progress=epoch / max(self.epochs - 1, 1),
        )

    def loss(self, views: Mapping[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the named terms of a batch, "total" among them; `epoch` counts in fractions."""
        raise SettingsError(f"stage {type(self).__name__} defines no loss")

    def changing(self, epoch: int, moment: float) -> dict[str, Any]:
        """Returns the numbers that change from step to step, beside the batch.

        They are the seed of each view and, where a graph needs them before its step, what the loss draws.
        """
        drawn = self.draws(self.share or Share(0)) if self.train_step.wanted else {}
        return {**{f"{name} view": self.view_seed(name, epoch) for name in self.view_names}, **drawn}

    def after_step(self) -> None:
        """Does what follows an optimisation step; nothing here."""

    def run_epoch(self, epoch: int) -> Losses:
        """Runs one epoch and returns the mean of each loss term."""
        seed_epoch(self.common.seed, self.name, epoch)
        self.set_mode()
        means = RunningMeans()
        order = self.order(epoch)
        sizes = batch_sizes(len(order), self.common.batch, self.common.last_batch)
        for number, batch in enumerate(self.batches(order)):
            moment = epoch + number / len(sizes)
            self.share = self._share(sizes[number])
            set_rate(self.optimiser, self.optimisation, self.common, moment, self.epochs)
            now = {"epoch": epoch, "moment": moment, **self.changing(epoch, moment)}
            means.add(self.train_step({**batch._asdict(), **now}), self.share.weight)
            self.step += 1
            self.context.on_step(number + 1, len(sizes))
        losses = means.result(averaged if self.divided else None)
        if epoch + 1 == self.epochs:
            self.train_step.release()
        self.context.offer()
        return losses

    def set_mode(self) -> None:
        """Puts the network into training mode."""
        self.network.train()

    def batches(self, order: np.ndarray) -> Iterator[Batch]:
        """Yields this process's part of each batch; `last_batch` says what becomes of a rest."""
        return batches_of(self.context.train, self.parts(order), self.context.runtime.device)

    def _train_step(self, now: Inputs) -> dict[str, Tensor]:
        self.now = now
        batch = Batch(self.now["images"], self.now["labels"], self.now["index"])
        terms = self.differentiate(self.views(batch, self.now["epoch"]), batch.labels, self.now["moment"])
        self.optimiser.step()
        self.after_step()
        return terms

    def differentiate(self, views: Mapping[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Leaves the gradient of the loss for the optimiser, and returns the terms of the loss."""
        terms = self.loss(views, labels, epoch)
        self.backward(terms["total"], labels)
        return terms

    def views(self, batch: Batch, epoch: int) -> Mapping[str, Tensor]:
        """Returns the views of a batch by name."""

        def make(name: str) -> Tensor:
            seed = self.view_seed(name, epoch)
            return seeded_view(name, batch.images, batch.index, seed, self.network.scale)

        return Branched(make, self.view_names, batch.images.device)

    def view_seed(self, name: str, epoch: int | Tensor) -> int | Tensor:
        """Returns the seed of a view; where a graph is recorded, the tensor that will hold it."""
        if isinstance(epoch, Tensor):
            return self.now[f"{name} view"]
        return derive_seed(self.common.seed, epoch, name)

    def deliver(self) -> Network:
        """Returns the network as it is now."""
        return self.network

    def state_dict(self) -> dict[str, Any]:
        """Returns the optimiser's state and the step count."""
        return {"optimiser": self.optimiser.state_dict(), "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        load_optimiser(self.optimiser, state["optimiser"])
        self.step = state["step"]

    def artefacts(self) -> dict[str, Tensor]:
        """Returns nothing: a supervised stage leaves only its network."""
        return {}


def new_classifier(context: StageContext, kind: str, scale: float | None, seed: int) -> nn.Module:
    """Gives the network of a stage a new classifier of its classes, and returns it."""
    network = context.network
    channels = num_features(network.encoder)
    classifier = build_classifier(kind, channels, context.train.num_classes, seed, scale)
    network.classifier = classifier.to(context.runtime.device)
    return network.classifier
