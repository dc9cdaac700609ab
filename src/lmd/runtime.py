"""Device, processes, precision, seeds and atomic files: the only file that knows Fabric."""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any, cast

from lmd import __version__
from lmd.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_TREE = "lmd_tree"
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


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` that becomes `path` on success and vanishes on failure.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as handle:
            temporary = Path(handle.name)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: Path, content: str | bytes) -> None:
    """Writes a whole file or nothing of it; an interrupted write leaves the old file as it was."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def save_tree(path: Path, tree: Any) -> None:
    """Saves a nested tree of tensors and JSON values in one safetensors file, atomically.

    Tensors are stored under numbered names; the tree that refers to them is JSON in the header.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_detach_tensors(tree, tensors))
    with atomic_path(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={_TREE: skeleton})
        except SafetensorError as error:  # It reports a full disk as its own error.
            raise OSError(str(error)) from error


def load_tree(path: Path) -> Any:
    """Returns the tree that `save_tree` stored.

    Raises:
        CheckpointError: the file is missing, damaged or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            skeleton = json.loads((file.metadata() or {})[_TREE])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error}") from error
    return _attach_tensors(skeleton, tensors)


def _detach_tensors(tree: Any, tensors: dict[str, Tensor]) -> Any:
    import torch

    if isinstance(tree, torch.Tensor):
        name = f"{len(tensors):06d}"
        tensors[name] = tree.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(tree, dict):
        pairs = cast("dict[Any, Any]", tree).items()
        return {"dict": [[key, _detach_tensors(value, tensors)] for key, value in pairs]}
    if isinstance(tree, list | tuple):
        return {"list": [_detach_tensors(value, tensors) for value in cast("list[Any]", tree)]}
    return {"value": tree}


def _attach_tensors(skeleton: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    ((kind, content),) = skeleton.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _attach_tensors(value, tensors) for key, value in content}
    if kind == "list":
        return [_attach_tensors(value, tensors) for value in content]
    return content


class Runtime:
    """The device a run is on, its precision and its place among the processes."""

    def __init__(self, precision: str = "fp32", accelerator: str = "auto") -> None:
        """Starts Fabric on one device; `precision` is auto, fp32 or bf16."""
        import torch
        from lightning_fabric import Fabric

        # Fabric announces its precision plugin on every start; the run folder records the precision.
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        use_cuda = accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available())
        if not use_cuda:
            _keep_freed_memory()
        self.precision = _resolve_precision(precision, use_cuda)
        self.fabric = Fabric(
            accelerator="cuda" if use_cuda else "cpu",
            devices=1,
            precision="bf16-mixed" if self.precision == "bf16" else "32-true",
        )

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


def _resolve_precision(precision: str, use_cuda: bool) -> str:
    """`auto` means bf16 where the processor multiplies bf16 natively, else fp32."""
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


def gather(tensor: Tensor, legacy_scale: bool = False) -> Tensor:
    """Returns the rows of all processes, with a gradient that is right on any number of them.

    Every process evaluates the loss L on all rows; DDP then averages the parameters' gradients over
    the W processes. The backward pass therefore adds up the W (equal) gradients that reach a row, so
    that the average is that of one process. With `legacy_scale` it keeps the local one alone, as the
    authors' code does: the gradient is then 1/W of what it should be (methods.md 1.3, row 4).
    """
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return tensor
    return cast("Tensor", _gather_function().apply(tensor, legacy_scale))


def _gather_function() -> Any:
    import torch
    import torch.distributed as dist

    class Gather(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, tensor: Tensor, legacy_scale: bool) -> Tensor:
            ctx.legacy_scale = legacy_scale
            parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
            dist.all_gather(parts, tensor.contiguous())
            return torch.cat(parts)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
            gradient = gradients[0].contiguous()
            if not ctx.legacy_scale:
                dist.all_reduce(gradient)
            return gradient.chunk(dist.get_world_size())[dist.get_rank()].clone(), None

    return Gather


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
