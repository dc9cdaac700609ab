"""How Fabric is told of a place among several processes, and forms a group of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch
from lightning_fabric.plugins.environments import ClusterEnvironment, LightningEnvironment
from lightning_fabric.strategies import DDPStrategy

from lmd.errors import SettingsError
from lmd.processes.starters import Place


def fabric_options(place: Place, use_cuda: bool, seconds: float) -> dict[str, Any]:
    """Returns what Fabric needs beside accelerator and precision; no answer for so many seconds is an error.

    Fabric has a module of DDP average gradients. Methods here call encoder and classifier apart, several
    times in a step, so that we average them ourselves (docs/architecture.md); Fabric forms the group.

    Raises:
        SettingsError: there are more processes on this machine than GPUs.
    """
    if place.world == 1:
        # Fabric would look for SLURM, and refuse a batch job that has several tasks.
        return {"devices": 1, "plugins": [LightningEnvironment()]}
    backend = "nccl" if use_cuda else "gloo"
    strategy = DDPStrategy(process_group_backend=backend, timeout=timedelta(seconds=seconds))
    gpu = _gpu(place) if use_cuda else 0
    return {"devices": [gpu] if use_cuda else 1, "strategy": strategy, "plugins": [_Environment(place)]}


def _gpu(place: Place) -> int:
    """The GPU of a process: SLURM may show each task its own alone."""
    found = torch.cuda.device_count()
    if found > 1 and place.local >= found:
        raise SettingsError(
            f"process {place.local + 1} of this machine has no GPU: it has {found}; start as many processes"
        )
    return place.local if found > 1 else 0


class _Environment(ClusterEnvironment):
    """A place, in Fabric's words: to it each process has one device, on a machine of its own."""

    def __init__(self, place: Place) -> None:
        self.place = place

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return self.place.address

    @property
    def main_port(self) -> int:
        return self.place.port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.place.world

    def set_world_size(self, size: int) -> None:
        """The starter has set it."""

    def global_rank(self) -> int:
        return self.place.rank

    def set_global_rank(self, rank: int) -> None:
        """The starter has set it."""

    def local_rank(self) -> int:
        return 0

    def node_rank(self) -> int:
        return self.place.rank
