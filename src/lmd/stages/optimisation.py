"""Gradient descent as every stage does it: optimiser, learning rate, seeds, means of losses."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lmd.data.feed.cuts import batch_sizes
from lmd.errors import SettingsError
from lmd.runtime import derive_seed
from lmd.settings import CommonSettings, Optimisation

Losses = dict[str, float]


class RunningMeans:
    """Means of named loss terms, added up on the device so that no step waits for it."""

    def __init__(self) -> None:
        """Starts empty."""
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, terms: dict[str, Tensor], weight: float = 1.0) -> None:
        """Adds the terms of one step; `weight` is what they count in the mean over processes."""
        self.count += 1
        for name, value in terms.items():
            value = value.detach().double() * weight
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def result(self, over_processes: Callable[[Tensor], Tensor] | None = None) -> Losses:
        """Returns the means, over all processes where they divide the batches.

        Raises:
            SettingsError: a term is not finite: training has diverged.
        """
        sums = self.sums
        if over_processes is not None and sums:
            sums = dict(zip(sums, over_processes(torch.stack(list(sums.values()))), strict=True))
        means = {name: float(total) / max(self.count, 1) for name, total in sums.items()}
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


def steps_per_epoch(num_images: int, batch: int, last: str = "drop") -> int:
    """Returns the number of batches in an epoch; `last` is the setting `last_batch`.

    >>> steps_per_epoch(300, 128), steps_per_epoch(100, 128)
    (2, 1)
    >>> steps_per_epoch(300, 128, "even")
    3
    """
    return len(batch_sizes(num_images, batch, last))
