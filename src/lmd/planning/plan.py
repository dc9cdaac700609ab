"""The block that is printed before a training starts: what will be done, and how long it takes here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch

from lmd.data.dataset.manifest import Dataset
from lmd.planning.clock import Clock
from lmd.planning.outline import Outline, outline
from lmd.planning.rehearsal import Pace, rehearse
from lmd.processes.shares import Share
from lmd.runtime import device_kind, resolved_precision
from lmd.settings import CommonSettings, Optimisation
from lmd.stages.optimisation import base_rate
from lmd.text import duration, in_columns


class Plan:
    """What a run will do. Its time is measured when it is first asked for: that takes some seconds."""

    def __init__(self, outline: Outline, processes: int = 1) -> None:
        """Measures nothing yet."""
        self.outline, self.processes = outline, processes

    @cached_property
    def paces(self) -> Sequence[Pace] | None:
        """The pace of each stage on this machine; None where it cannot be measured: one process rehearses."""
        return rehearse(self.outline) if self.processes == 1 else None

    @property
    def seconds(self) -> float | None:
        """The seconds of all stages together, without decoding; None where they cannot be measured."""
        if self.paces is None:
            return None
        return sum(pace.total(leg.epochs) for pace, leg in zip(self.paces, self.outline.legs, strict=True))

    @property
    def warning(self) -> str | None:
        """One line where the plan cannot learn."""
        return f"warning: {self.outline.warning}" if self.outline.warning else None

    def clock(self, measured: bool = True) -> Clock:
        """Returns a clock of the run; one that is not `measured` learns from the run alone."""
        return Clock(self.outline.legs, self.paces if measured else None)

    def lines(self) -> list[str]:
        """Returns the block, and a warning where the plan cannot learn."""
        rows = [("plan", f"{self.outline.method} on {self.outline.dataset.folder}"), *self._data()]
        for number, leg in enumerate(self.outline.legs, start=1 + self.outline.first):
            rows.append((f"stage {number}", leg.told()))
        rows += [*self._machine(), ("time", self._time())]
        return [*in_columns(rows), *([self.warning] if self.warning else [])]

    def facts(self) -> list[tuple[str, str]]:
        """Returns images, pixels, batch and device: what runs of one budget on the same data share."""
        return [*self._data(), *self._machine()]

    def _data(self) -> list[tuple[str, str]]:
        settings, dataset = self.outline.settings, self.outline.dataset
        counts = dataset.counts("train")
        together = effective(settings, self.processes) if self.processes > 1 else []
        even = "no image left out" if settings.last_batch == "even" else "what fills no batch is left out"
        images = (
            f"{self.outline.images:,} for training in {len(counts)} classes, {counts.min():,} in the rarest"
        )
        return [
            ("images", f"{images}; {self.outline.validated:,} for validation"),
            ("pixels", f"{settings.size} x {settings.size}"),
            ("batch", f"{min(settings.batch, self.outline.images)} images; {even}"),
            *together,
        ]

    def _machine(self) -> list[tuple[str, str]]:
        settings = self.outline.settings
        cpu = f"cpu, {torch.get_num_threads()} {'thread' if torch.get_num_threads() == 1 else 'threads'}"
        device = cpu if device_kind() == "cpu" else torch.cuda.get_device_name()
        precision = resolved_precision(settings.usable_precision, device_kind() == "cuda")
        frozen = {"none": "nothing", "stem": "the encoder's first layers", "all": "the whole encoder"}
        return [
            ("device", f"{device}, {precision}"),
            ("frozen", frozen[settings.freeze]),
        ]

    def _time(self) -> str:
        if self.seconds is None:
            return "not known before the first epoch"
        return f"about {duration(self.seconds)} on this machine, by some steps of each stage; decoding apart"


def effective(settings: CommonSettings, processes: int) -> list[tuple[str, str]]:
    """Returns the effective batch of several processes, and the learning rates that hold for it."""
    parts = Share(settings.batch, 0, processes).lengths
    each = f"{parts[0]}" if parts[0] == parts[-1] else f"{parts[-1]} or {parts[0]}"
    rates = {
        name: base_rate(part.optimisation, settings)
        for name, part in settings
        if isinstance(getattr(part, "optimisation", None), Optimisation)
    }
    told = ", ".join(f"{rate:g} ({name})" for name, rate in rates.items())
    return [
        ("effective", f"batch {settings.batch}: {processes} processes with {each} images each"),
        ("rate", f"{told}, at that batch"),
    ]


def plan_of_run(
    dataset: Dataset,
    method: str,
    settings: CommonSettings,
    taken_over: bool = False,
    processes: int = 1,
) -> Plan:
    """Returns the plan of a run; `taken_over` is true where another run's first stage is taken over.

    Raises:
        SettingsError: the method or one of its stages cannot work with these settings.
    """
    return Plan(outline(dataset, method, settings, taken_over), processes)
