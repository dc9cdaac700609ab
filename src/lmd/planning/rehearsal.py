"""How long a run takes on this machine: some steps of each stage on random pixels, timed.

The stages' own code runs, on a network of its own with weights of its own, so that nothing of the real run
changes: no weight, and no generator of random numbers. A few seconds in all, whatever the run is.
"""

from __future__ import annotations

import logging
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
import torch

from lmd import methods
from lmd.data.feed.loader import ImageSet
from lmd.models.classifier import build_classifier
from lmd.models.encoder import build_encoder, num_features
from lmd.models.freezing import freeze
from lmd.models.inference import encode
from lmd.models.names import normalisation
from lmd.models.network import Network
from lmd.planning.outline import Leg, Outline, m_steps
from lmd.runtime import Runtime, derive_seed
from lmd.settings import CommonSettings
from lmd.stages.adjustment import Adjustment
from lmd.stages.base import Stage, StageContext
from lmd.stages.calibration.algorithm import Calibration
from lmd.stages.classifier_training import ClassifierTraining

# The most steps of a part of a stage, the most seconds once it has three, and before that.
STEPS, SECONDS, SLOW = 10, 1.0, 4.0
STEP_PIXELS = 24 * 64**2  # Of a step's images on a CPU: larger batches are rehearsed with fewer images.


@dataclass(frozen=True)
class Pace:
    """The seconds of a stage: once before its first epoch, and in each epoch, validation included."""

    epoch: float
    before: float = 0.0
    validation: float = 0.0

    def total(self, epochs: int) -> float:
        """Returns the seconds of so many epochs."""
        return self.before + epochs * self.epoch


class _Enough(Exception):  # noqa: N818 - it ends a rehearsal, and is no error.
    """Enough steps have been timed."""


@dataclass
class _Watch:
    """Times steps and stops them; the first is left out where there are others.

    The M-step tells of some steps at a time.
    """

    times: list[float] = field(default_factory=lambda: [time.perf_counter()])
    steps: list[int] = field(default_factory=list[int])
    before: int = 0  # Steps of the present epoch that were told.

    def begin(self) -> None:
        """Forgets what was timed."""
        self.times[:] = [time.perf_counter()]
        self.steps.clear()
        self.before = 0

    def step(self, done: int, total: int) -> None:
        """Takes the time of a step, or of those since the last call; raises `_Enough` after the last."""
        self.steps.append(done - self.before)
        self.before = done if done < total else 0
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # Else the time would be that of asking for the step.
        self.times.append(time.perf_counter())
        told = len(self.steps)
        if told > STEPS or self.times[-1] - self.times[0] > (SECONDS if told > 2 else SLOW):
            raise _Enough

    def seconds(self) -> float:
        """Returns the seconds of a usual step."""
        spans = [
            (later - earlier) / steps
            for earlier, later, steps in zip(self.times, self.times[1:], self.steps, strict=False)
        ]
        return statistics.median(spans[1:] or spans or [0.0])


def rehearse(outline: Outline) -> list[Pace] | None:
    """Returns the pace of each stage of a run; None where a stage cannot be rehearsed.

    What is wrong with a stage is for the run itself to tell.
    """
    with _undisturbed():
        try:
            return _Rehearsal(outline).paces()
        except Exception:
            logging.getLogger(__name__).debug("no rehearsal", exc_info=True)
            return None


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leaves the generators of random numbers, the threads and the log as they were."""
    threads, own, numpys = torch.get_num_threads(), random.getstate(), np.random.get_state()
    off = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with torch.random.fork_rng():
            yield
    finally:
        logging.disable(off)
        random.setstate(own)
        np.random.set_state(numpys)
        torch.set_num_threads(threads)


class _Rehearsal:
    """A network and some random images, like the run's own but fewer."""

    def __init__(self, outline: Outline) -> None:
        """Draws network and images."""
        self.outline, settings = outline, outline.settings
        self.runtime = Runtime(settings.usable_precision)
        self.counts = outline.dataset.counts("train")
        self.batch = _batch(settings, self.runtime)
        self.small = settings.model_copy(update={"batch": self.batch})
        self.network = _network(self.small, len(self.counts))
        self.runtime.place(self.network)
        self.images = _images(self.counts, 3 * self.batch, settings.size)
        self.encoding = self._encoding()

    def paces(self) -> list[Pace]:
        """Returns the pace of each stage, in order."""
        stages = methods.load(self.outline.method).stages(self.small, self.counts)
        return [
            self._pace(stage, leg)
            for stage, leg in zip(stages[self.outline.first :], self.outline.legs, strict=True)
        ]

    def _pace(self, stage: Stage, leg: Leg) -> Pace:
        """The pace of one stage; the network is left as the stage's steps leave it."""
        images, validation = self.outline.images, self.outline.validated * self.encoding
        if isinstance(stage, Adjustment):
            return Pace(images * self.encoding + validation, 0.0, validation)
        if isinstance(stage, Calibration):
            return Pace(self._calibration(stage, leg) + validation, 0.0, validation)
        step = self._timed(stage, lambda watch: _epochs(stage, watch))
        steps = (leg.steps + leg.classifier_steps) / max(leg.epochs, 1)
        if isinstance(stage, ClassifierTraining):
            return Pace(steps * step + validation, images * self.encoding, validation)
        return Pace(steps * step * self.scale + validation, 0.0, validation)

    @property
    def scale(self) -> float:
        """How many times longer a step of the run is than one of the rehearsal."""
        return min(self.outline.settings.batch, self.outline.images) / self.batch

    def _calibration(self, stage: Calibration, leg: Leg) -> float:
        """The seconds of a mean iteration: statistics, M-step and E-step."""
        watch = _Watch()
        stage.prepare(self._context(watch))
        gaussians = stage.statistics.update(0)
        per_m = self._timed_again(watch, lambda: stage.m_step.fit(gaussians, 0))
        per_e = self._timed_again(watch, lambda: stage.e_step.fit(gaussians, 0)) if leg.steps else 0.0
        e_steps = leg.steps / max(leg.epochs, 1)
        statistics_seconds = self.outline.images * self.encoding
        return statistics_seconds + m_steps(stage, len(self.counts)) * per_m + e_steps * per_e * self.scale

    def _timed(self, stage: Stage, work: Callable[[_Watch], None]) -> float:
        watch = _Watch()
        stage.prepare(self._context(watch))
        return self._timed_again(watch, lambda: work(watch))

    def _timed_again(self, watch: _Watch, work: Callable[[], object]) -> float:
        watch.begin()
        with suppress(_Enough):
            work()
        return watch.seconds()

    def _encoding(self) -> float:
        """The seconds that an image takes through the network without gradients."""
        rows = np.arange(min(2 * self.batch, len(self.images.labels)))
        spans: list[float] = []
        for _ in range(2):  # The first is slower.
            start = time.perf_counter()
            encode(self.network, self.images, self.runtime, rows)
            spans.append(time.perf_counter() - start)
        return spans[-1] / len(rows)

    def _context(self, watch: _Watch) -> StageContext:
        val = self.images if self.outline.validated else None
        return StageContext(self.network, self.images, self.runtime, watch.step, val)


def _epochs(stage: Stage, watch: _Watch) -> None:
    """Runs epochs until enough steps have been timed; one that tells no steps runs once."""
    for epoch in range(STEPS):
        stage.run_epoch(epoch)
        if not watch.steps:
            return


def _batch(settings: CommonSettings, runtime: Runtime) -> int:
    if runtime.device.type != "cpu":
        return settings.batch
    return min(settings.batch, max(4, STEP_PIXELS // settings.size**2))


def _network(settings: CommonSettings, num_classes: int) -> Network:
    torch.manual_seed(derive_seed(settings.seed, "rehearsal"))
    encoder = build_encoder(settings.encoder, size=settings.size)
    freeze(encoder, settings.freeze)
    classifier = build_classifier("linear", num_features(encoder), num_classes, settings.seed)
    return Network(encoder, classifier, normalisation(settings.encoder), settings.flips)


def _images(counts: np.ndarray, wanted: int, size: int) -> ImageSet:
    """Random images, at least one of each class, the others as often as the class is in the data."""
    number, generator = max(wanted, len(counts)), np.random.default_rng(0)
    more = generator.choice(len(counts), number - len(counts), p=counts / counts.sum())
    labels = np.concatenate([np.arange(len(counts)), more]).astype(np.int64)
    pixels = generator.integers(0, 256, (number, 3, size, size), dtype=np.uint8)
    return ImageSet(torch.from_numpy(pixels), torch.from_numpy(labels), len(counts))
