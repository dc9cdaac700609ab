"""How many trainings fit side by side on a machine: `--jobs auto`."""

from __future__ import annotations

from typing import Literal

import torch

from lmd.jobs.shares import mps_runs
from lmd.parallel import num_cores
from lmd.planning.outline import Outline
from lmd.planning.rehearsal import rehearse
from lmd.runtime import device_kind, free_memory

Jobs = int | Literal["auto"]

_PROCESS = 3 * 2**29  # Bytes of main memory that a training on a CPU needs, and some to spare.
_TURNS = 3  # Trainings on a GPU that they use in turns, one of which is always on the processor.
_CONTEXT = 2**30  # Bytes of a GPU's memory that a process takes before its first tensor, and some to spare.


def number_of(jobs: Jobs, longest: Outline, number: int) -> int:
    """Returns how many trainings run at a time: as asked for, or as many as the machine holds.

    A core each, at most; on a GPU as many as its free memory holds of the `longest`, which is rehearsed for
    it; on a CPU as many as main memory holds. Three at most where they use a GPU in turns (docs/speed.md).

    >>> number_of(3, None, 8)
    3
    """
    if jobs != "auto":
        return jobs
    cuda = device_kind() == "cuda"
    free = free_memory(torch.device("cuda" if cuda else "cpu"))
    each = _memory_of(longest) if cuda else _PROCESS
    places = num_cores() if free is None else min(num_cores(), free // each)
    if cuda and not mps_runs():
        places = min(places, _TURNS)
    return max(1, min(number, places))


def _memory_of(outline: Outline) -> int:
    """The bytes of a GPU's memory that a training takes: measured on some of its steps."""
    torch.cuda.reset_peak_memory_stats()
    rehearse(outline)
    peak = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    images = outline.images + outline.validated
    return peak + images * 3 * outline.settings.size**2 + _CONTEXT
