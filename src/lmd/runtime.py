"""Device, processes, precision and seeds: the only file that knows Fabric."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import sys
from contextlib import AbstractContextManager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmd import stopping
from lmd.processes import starters
from lmd.processes.shares import Share
from lmd.processes.starters import refuse_several_processes as refuse_several_processes
from lmd.version import __version__

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from lmd.processes.collectives import Control

# mallopt's numbers of glibc's settings, and how much freed memory is kept, in one piece and in all.
_MMAP_THRESHOLD, _KEPT_PIECE = -3, 2**26
_TRIM_THRESHOLD, _KEPT = -1, 2**30
_CHOSEN_BY_USER = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def derive_seed(*keys: int | str) -> int:
    """Returns a 63-bit seed that is a pure function of the keys.

    >>> derive_seed(42, "order", 0) == derive_seed(42, "order", 0) != derive_seed(42, "order", 1)
    True
    """
    digest = hashlib.sha256(repr(keys).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


# Seconds after which a process that does not answer is taken to have gone, and a day for those that wait for
# the first one to decode images.
_ANSWER, _PREPARE = 600, 86400


class Runtime:
    """The device a run is on, its precision and its place among the processes."""

    def __init__(
        self, precision: str = "fp32", accelerator: str = "auto", place: starters.Place = starters.ALONE
    ) -> None:
        """Starts Fabric on one device; `precision` is auto, fp32 or bf16.

        At a `place` among several processes it waits for the others, and speaks to them from then on.

        Raises:
            SettingsError: there are more processes on this machine than GPUs.
            LostProcessError: the others do not come.
        """
        import torch
        from lightning_fabric import Fabric

        from lmd.processes.group import fabric_options

        stopping.check()  # A library may have dropped an interrupt while it was imported.
        # Fabric announces its precision plugin on every start; the run folder records the precision.
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        use_cuda = accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available())
        if not use_cuda:
            _keep_freed_memory()
        self.precision = resolved_precision(precision, use_cuda)
        self.fabric = Fabric(
            accelerator="cuda" if use_cuda else "cpu",
            precision="bf16-mixed" if self.precision == "bf16" else "32-true",
            **fabric_options(place, use_cuda, _ANSWER),
        )
        self.control = self._join(place) if place.world > 1 else None

    def _join(self, place: starters.Place) -> Control:
        """Meets the other processes; what they tell each other has a group of its own."""
        import torch.distributed as dist

        from lmd.processes.collectives import Control, exchange

        with exchange():
            self.fabric.launch()
            day = timedelta(seconds=_PREPARE)
            control = Control(dist.new_group(backend="gloo", timeout=day))
        if not place.leads:
            logging.getLogger("lmd").setLevel(logging.ERROR)  # The first process warns.
        return control

    @property
    def device(self) -> Any:
        """The torch device of this process."""
        return self.fabric.device

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return self.fabric.global_rank

    @property
    def world(self) -> int:
        """The number of processes."""
        return self.fabric.world_size

    def share(self, whole: int) -> Share:
        """Returns this process's part of a batch of so many images."""
        return Share(whole, self.rank, self.world)

    def place(self, module: nn.Module) -> None:
        """Moves a module to the device; on a GPU its weights lie channels last, as the images do.

        On a CPU that gains little (1 to 4% of a step) and changes the rounding of small maps.
        """
        import torch

        module.to(self.device)
        if self.device.type == "cuda":
            module.to(memory_format=torch.channels_last)

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which networks run at the chosen precision."""
        return self.fabric.autocast()

    def backward(self, loss: Tensor) -> None:
        """Back-propagates a loss."""
        self.fabric.backward(loss)


def _keep_freed_memory() -> None:
    """Lets this process keep up to 1 GiB of what it frees, for the next layer or batch of a network.

    glibc gives larger pieces back to the system, which fills each page with zeros when they are needed again:
    a tenth of a network's pass where it was measured (docs/speed.md). No number changes. Other C libraries,
    and a process whose user has chosen these settings, are left alone.
    """
    if platform.libc_ver()[0] == "glibc" and not any(name in os.environ for name in _CHOSEN_BY_USER):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _KEPT_PIECE)
        mallopt(_TRIM_THRESHOLD, _KEPT)


def device_kind(accelerator: str = "auto") -> str:
    """Returns where a run takes place: "cuda" where there is such a device, else "cpu"."""
    import torch

    return "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"


def resolved_precision(precision: str, use_cuda: bool) -> str:
    """Returns bf16 or fp32: "auto" means bf16 where the processor multiplies bf16 natively, else fp32."""
    import torch

    if precision != "auto":
        return precision
    if use_cuda:
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if torch.backends.mkldnn.is_available() and _cpu_has_bf16() else "fp32"


def _cpu_has_bf16() -> bool:
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def make_deterministic() -> None:
    """Has a GPU give the same result each time; a CPU does so anyhow."""
    import torch

    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    # TF32 for the networks' convolutions; the matrix products of statistics and FDC keep all of fp32.
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = False


def free_memory(device: torch.device) -> int | None:
    """Returns the bytes that can still be had on a device; None where the system does not say."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None


def main_memory() -> int | None:
    """Returns the bytes of main memory that the machine has; None where the system does not say."""
    if sys.platform == "win32":
        return None
    else:  # A type checker for Windows leaves it out.
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (OSError, ValueError):
            return None


def gather(tensor: Tensor) -> Tensor:
    """Returns the rows of all processes, for a loss of the whole batch; see `lmd.processes.collectives`."""
    from lmd.processes import collectives

    return collectives.gather(tensor)


def environment() -> dict[str, Any]:
    """Returns the versions and the hardware that a run's numbers depend on."""
    import torch

    packages = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "scikit-learn")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {"lmd": __version__} | {name: version(name) for name in packages},
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
