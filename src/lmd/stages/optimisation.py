"""Gradient descent as every stage does it: optimiser, learning rate, seeds, means of losses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

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

    def add(self, terms: dict[str, Tensor], weight: float = 1.0, steps: int = 1) -> None:
        """Adds the terms of one step, or their sums over so many.

        `weight` is what they count in the mean over processes.
        """
        self.count += steps
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
    """Returns SGD or Adam over the parameters of a module that want a gradient.

    On a GPU its step is one kernel, and its rate lies there, so that a CUDA graph may hold the step.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    rate, momentum, decay = base_rate(optimisation, common), optimisation.momentum, optimisation.weight_decay
    on_gpu = bool(parameters) and parameters[0].device.type == "cuda"
    options: dict[str, Any] = {"weight_decay": decay}
    if on_gpu:
        rate, options = torch.tensor(rate, device=parameters[0].device), {**options, "fused": True}
    if optimisation.optimiser == "adam":
        return torch.optim.Adam(parameters, rate, betas=(momentum, 0.999), capturable=on_gpu, **options)
    return torch.optim.SGD(parameters, rate, momentum=momentum, **options)


# What of an optimiser's groups belongs to the machine and not to the training.
_OF_DEVICE = ("lr", "fused", "foreach", "capturable")


def load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Gives an optimiser its state back, also that of another device; the next step sets its rate anew."""
    own = [{name: group[name] for name in _OF_DEVICE if name in group} for group in optimiser.param_groups]
    optimiser.load_state_dict(state)
    for group, kept in zip(optimiser.param_groups, own, strict=True):
        group.update(kept)


def base_rate(optimisation: Optimisation, common: CommonSettings) -> float:
    """Returns the learning rate; `lr_scale: linear` makes it proportional to batch / 128."""
    return optimisation.lr * (common.batch / 128 if common.lr_scale == "linear" else 1.0)


def rate_at(optimisation: Optimisation, common: CommonSettings, epoch: float, epochs: int) -> float:
    """Returns the learning rate of a moment: linear warm-up, times what the schedule says."""
    factor = schedule_factor(optimisation.schedule, epoch, epochs)
    if optimisation.warmup_epochs > 0:
        factor *= min(1.0, (epoch + 1e-3) / optimisation.warmup_epochs)
    return base_rate(optimisation, common) * factor


def set_rate(
    optimiser: torch.optim.Optimizer,
    optimisation: Optimisation,
    common: CommonSettings,
    epoch: float,
    epochs: int,
) -> None:
    """Gives an optimiser the learning rate of a moment."""
    give_rate(optimiser, rate_at(optimisation, common, epoch, epochs))


def give_rate(optimiser: torch.optim.Optimizer, rate: float | Tensor) -> None:
    """Gives an optimiser its learning rate; one that lies on a GPU is changed in its place."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].copy_(rate) if isinstance(rate, Tensor) else group["lr"].fill_(rate)
        else:
            group["lr"] = float(rate)


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
