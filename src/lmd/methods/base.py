"""What every method is made of: the Stage, and the Supervised stage with four points to override."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from lmd.data.augment import view
from lmd.data.loader import Batch, ImageSet, batches
from lmd.data.sampling import Sampling, sampling_order
from lmd.errors import SettingsError
from lmd.models.classifier import build_classifier
from lmd.models.encoder import num_features
from lmd.models.network import Network
from lmd.runtime import Runtime, derive_seed
from lmd.settings import CommonSettings, Count, Optimisation, Settings, Tree, merge

Losses = dict[str, float]


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


class Stage(Protocol):
    """A part of a training: epochs that change a network, resumable at each epoch's end."""

    name: str
    epochs: int

    def prepare(self, context: StageContext) -> None:
        """Takes the network over; makes optimisers and whatever else it needs."""
        ...

    def run_epoch(self, epoch: int) -> Losses:
        """Runs one epoch, a pure function of (state, seed, epoch); returns the mean of each loss term."""
        ...

    def deliver(self) -> Network:
        """Returns the network that this stage would hand over now; it is what validation judges."""
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


def budgets(smoke: Tree | None = None, short: Tree | None = None) -> dict[str, Tree]:
    """Returns what the budgets "smoke" and "short" lay over a method's defaults.

    Every method has the same images, epochs and schedule in stage 1; `smoke` and `short` add what is its own.
    """
    cosine: Tree = {"schedule": "cosine"}
    common_smoke: Tree = {"size": 32, "precision": "auto", "stage1": {"epochs": 2, "optimisation": cosine}}
    common_short: Tree = {"size": 64, "precision": "auto", "stage1": {"epochs": 12, "optimisation": cosine}}
    return {"smoke": merge(common_smoke, smoke or {}), "short": merge(common_short, short or {})}


class SupervisedSettings(Settings):
    """A supervised stage: how long, how it is optimised, and which images it sees how often."""

    epochs: Count = 100
    optimisation: Optimisation = Optimisation()
    sampling: Sampling = "instance"


class Supervised:
    """A stage of gradient descent on batches of training images.

    Override `order` (which images, in which sequence), `loss` (a dict of named terms; "total" is
    back-propagated, all are logged), `views` or `view_names` (what of a batch the loss is given) and
    `after_step`. A method with another classifier names it in `head`.
    """

    name = "stage1"
    view_names: tuple[str, ...] = ("weak",)
    head: tuple[str, float | None] | None = None  # Kind and scale of a new classifier; None keeps the old.

    def __init__(self, common: CommonSettings, stage: SupervisedSettings) -> None:
        """Keeps the settings; nothing is built before `prepare`."""
        self.common = common
        self.epochs = stage.epochs
        self.optimisation = stage.optimisation
        self.sampling: Sampling = stage.sampling
        self.step = 0

    def prepare(self, context: StageContext) -> None:
        """Takes the network over, gives it its classifier and makes the optimiser."""
        self.context = context
        self.network = context.network
        if self.head is not None:
            new_classifier(context, *self.head, seed=derive_seed(self.common.seed, self.name, "head"))
        self.optimiser = build_optimiser(self.trained(), self.optimisation, self.common)

    def trained(self) -> nn.Module:
        """Returns the part of the network that the optimiser moves: all of it."""
        return self.network

    def order(self, epoch: int) -> np.ndarray:
        """Returns the rows of an epoch, as the setting `sampling` says."""
        runtime = self.context.runtime
        return sampling_order(
            self.sampling,
            self.context.train.labels.numpy(),
            derive_seed(self.common.seed, self.name),
            epoch,
            runtime.rank,
            runtime.world,
            epoch / max(self.epochs - 1, 1),
        )

    def loss(self, views: dict[str, Tensor], labels: Tensor, epoch: float) -> dict[str, Tensor]:
        """Returns the named terms of a batch, "total" among them; `epoch` counts in fractions."""
        raise SettingsError(f"stage {type(self).__name__} defines no loss")

    def after_step(self) -> None:
        """Does what follows an optimisation step; nothing here."""

    def run_epoch(self, epoch: int) -> Losses:
        """Runs one epoch and returns the mean of each loss term."""
        seed_epoch(self.common.seed, self.name, epoch)
        self.set_mode()
        means = RunningMeans()
        order = self.order(epoch)
        steps = steps_per_epoch(len(order), self.common.batch)
        for number, batch in enumerate(self.batches(order)):
            moment = epoch + number / steps
            set_rate(self.optimiser, self.optimisation, self.common, moment, self.epochs)
            means.add(self._train_step(batch, epoch, moment))
            self.context.on_step(number + 1, steps)
        return means.result()

    def set_mode(self) -> None:
        """Puts the network into training mode."""
        self.network.train()

    def batches(self, order: np.ndarray) -> Iterator[Batch]:
        """Yields the batches of an epoch; a last one that is not full is left out, as BatchNorm needs it."""
        return batches(self.context.train, order, self.common.batch, self.context.runtime.device,
                       drop_last=len(order) >= self.common.batch)  # fmt: skip

    def _train_step(self, batch: Batch, epoch: int, moment: float) -> dict[str, Tensor]:
        terms = self.loss(self.views(batch, epoch), batch.labels, moment)
        self.optimiser.zero_grad(set_to_none=True)
        self.context.runtime.backward(terms["total"])
        self.optimiser.step()
        self.after_step()
        self.step += 1
        return terms

    def views(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        """Returns the views of a batch by name."""
        seed = self.common.seed
        return {name: view(name, batch.images, batch.index, seed, epoch) for name in self.view_names}

    def deliver(self) -> Network:
        """Returns the network as it is now."""
        return self.network

    def state_dict(self) -> dict[str, Any]:
        """Returns the optimiser's state and the step count."""
        return {"optimiser": self.optimiser.state_dict(), "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes such a state back."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]

    def artefacts(self) -> dict[str, Tensor]:
        """Returns nothing: a supervised stage leaves only its network."""
        return {}


def new_classifier(context: StageContext, kind: str, scale: float | None, seed: int) -> nn.Module:
    """Gives the network of a stage a new classifier of its classes, and returns it."""
    network = context.network
    channels = num_features(network.encoder)
    head = build_classifier(kind, channels, context.train.num_classes, seed, scale)
    network.classifier = head.to(context.runtime.device)
    return network.classifier


class RunningMeans:
    """Means of named loss terms, added up on the device so that no step waits for it."""

    def __init__(self) -> None:
        """Starts empty."""
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, terms: dict[str, Tensor]) -> None:
        """Adds the terms of one step."""
        self.count += 1
        for name, value in terms.items():
            value = value.detach().double()
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def result(self) -> Losses:
        """Returns the means.

        Raises:
            SettingsError: a term is not finite: training has diverged.
        """
        means = {name: float(total) / max(self.count, 1) for name, total in self.sums.items()}
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise SettingsError(
                    f"the loss term '{name}' became {mean}: lower a learning rate or a loss weight"
                )
        return means


def build_optimiser(
    module: nn.Module, optimisation: Optimisation, common: CommonSettings
) -> torch.optim.Optimizer:
    """Returns SGD or Adam over the parameters of a module that want a gradient."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    rate, momentum, decay = base_rate(optimisation, common), optimisation.momentum, optimisation.weight_decay
    if optimisation.optimiser == "adam":
        return torch.optim.Adam(parameters, rate, betas=(momentum, 0.999), weight_decay=decay)
    return torch.optim.SGD(parameters, rate, momentum=momentum, weight_decay=decay)


def base_rate(optimisation: Optimisation, common: CommonSettings) -> float:
    """Returns the learning rate; `lr_scale: linear` makes it proportional to batch / 128."""
    return optimisation.lr * (common.batch / 128 if common.lr_scale == "linear" else 1.0)


def set_rate(
    optimiser: torch.optim.Optimizer,
    optimisation: Optimisation,
    common: CommonSettings,
    epoch: float,
    epochs: int,
) -> None:
    """Sets the learning rate of a moment: linear warm-up, times what the schedule says."""
    factor = schedule_factor(optimisation.schedule, epoch, epochs)
    if optimisation.warmup_epochs > 0:
        factor *= min(1.0, (epoch + 1e-3) / optimisation.warmup_epochs)
    for group in optimiser.param_groups:
        group["lr"] = base_rate(optimisation, common) * factor


def schedule_factor(schedule: str, epoch: float, epochs: int) -> float:
    """Returns the factor on the learning rate at a moment, `epoch` of `epochs`, counted in fractions.

    1 throughout ("constant"), or half a cosine (1 + cos(pi epoch / epochs)) / 2 from 1 down to 0, which
    moves with each step ("cosine") or once an epoch ("cosine_per_epoch").

    >>> [round(schedule_factor(name, 10.5, 30), 3) for name in ("constant", "cosine", "cosine_per_epoch")]
    [1.0, 0.727, 0.75]
    """
    if schedule == "constant":
        return 1.0
    moment = math.floor(epoch) if schedule == "cosine_per_epoch" else epoch
    return 0.5 * (1 + math.cos(math.pi * moment / epochs))


def seed_epoch(seed: int, *keys: int | str) -> None:
    """Seeds torch's global generator, which dropout layers draw from, as a function of the epoch alone."""
    torch.manual_seed(derive_seed(seed, *keys))


def steps_per_epoch(num_images: int, batch: int) -> int:
    """Returns the number of full batches, and 1 where there is none.

    >>> steps_per_epoch(300, 128), steps_per_epoch(100, 128)
    (2, 1)
    """
    return max(num_images // batch, 1)
