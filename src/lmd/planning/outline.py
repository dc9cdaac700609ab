"""What a run will do, whatever its budget: its stages with their epochs and steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lmd import methods
from lmd.data.dataset.manifest import Dataset
from lmd.errors import CheckpointError
from lmd.planning.rules import CANNOT_LEARN
from lmd.records import read_metrics
from lmd.run_folder import RunFolder
from lmd.settings import CommonSettings
from lmd.stages.adjustment import Adjustment
from lmd.stages.base import Stage
from lmd.stages.calibration.algorithm import Calibration
from lmd.stages.calibration.e_step import IdleEStep
from lmd.stages.calibration.m_step import SampledMStep
from lmd.stages.classifier_training import ClassifierTraining
from lmd.stages.optimisation import steps_per_epoch
from lmd.text import numbered

_LEAST = 0.05  # Of a run: loading, validating and testing, where no epoch is left.


@dataclass(frozen=True)
class Leg:
    """A stage of a run: its epochs, and the gradient steps of all of them together."""

    name: str
    epochs: int
    steps: int  # That train the encoder, or all of the network.
    classifier_steps: int = 0  # That train the classifier alone.

    def told(self) -> str:
        """Returns the stage in words."""
        if not self.steps + self.classifier_steps:
            return "no training: one pass over the images"
        parts = [_steps(self.steps)] if self.steps else []
        parts += [f"{_steps(self.classifier_steps)} of the classifier alone"] if self.classifier_steps else []
        return f"{numbered(self.epochs, 'epoch')}: {' and '.join(parts)}"


def _steps(number: int) -> str:
    return "1 step" if number == 1 else f"{number:,} steps"


@dataclass(frozen=True)
class Outline:
    """A run before it starts."""

    dataset: Dataset
    method: str
    settings: CommonSettings
    legs: tuple[Leg, ...]
    first: int = 0  # The number of stages that are taken over from another run.

    @property
    def images(self) -> int:
        """The training images."""
        return int(self.dataset.counts("train").sum())

    @property
    def validated(self) -> int:
        """The validation images."""
        return int(self.dataset.counts("val").sum())

    @property
    def warning(self) -> str | None:
        """One line where the plan cannot learn: fewer gradient steps than it takes."""
        steps = sum(leg.steps for leg in self.legs)
        if self.first or steps >= CANNOT_LEARN:
            return None
        return (
            f"this cannot learn much: {steps} gradient steps, and {CANNOT_LEARN} are few; "
            "take --budget auto, a smaller --set batch or more epochs (--set stage1.epochs)"
        )


def outline(dataset: Dataset, method: str, settings: CommonSettings, taken_over: bool = False) -> Outline:
    """Returns what a run will do; `taken_over` is true where another run's first stage is taken over.

    Raises:
        SettingsError: the method or one of its stages cannot work with these settings.
    """
    counts = dataset.counts("train")
    stages = methods.load(method).stages(settings, counts)
    first = int(taken_over)
    legs = tuple(_leg(stage, settings, int(counts.sum()), len(counts)) for stage in stages[first:])
    return Outline(dataset, method, settings, legs, first)


def left_of(folder: RunFolder, legs: Sequence[Leg]) -> float:
    """Returns the share of a run that is not done yet, by its epochs; some is left where no epoch is."""
    epochs = max(sum(leg.epochs for leg in legs), 1)
    with suppress(CheckpointError):  # It has not begun, or has finished no epoch.
        return max(1 - len(read_metrics(folder.path)) / epochs, _LEAST)
    return 1.0


def _leg(stage: Stage, settings: CommonSettings, images: int, classes: int) -> Leg:
    each = steps_per_epoch(images, settings.batch, settings.last_batch)
    if isinstance(stage, Calibration):
        e_steps = 0 if isinstance(stage.e_step, IdleEStep) else stage.iterations * each
        return Leg(stage.name, stage.epochs, e_steps, stage.epochs * m_steps(stage, classes))
    if isinstance(stage, Adjustment):
        return Leg(stage.name, stage.epochs, 0)
    if isinstance(stage, ClassifierTraining):
        return Leg(stage.name, stage.epochs, 0, stage.epochs * each)
    return Leg(stage.name, stage.epochs, stage.epochs * each)


def m_steps(stage: Calibration, classes: int) -> int:
    """Returns the steps of the classifier in one M-step; the exact one is a single one."""
    m_step: Any = stage.m_step
    if not isinstance(m_step, SampledMStep):
        return 1
    return math.ceil(m_step.settings.virtual_per_class * classes / m_step.settings.batch)
