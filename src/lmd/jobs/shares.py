"""How many processes fit on a machine, and the cores that each of them has."""

from __future__ import annotations

import os
from pathlib import Path

from lmd.errors import SettingsError
from lmd.parallel import CORES, num_cores

# What limits the threads of the libraries that compute.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

AUTO = "auto"  # As many processes as fit.
# Where NVIDIA's daemon listens, unless CUDA_MPS_PIPE_DIRECTORY says otherwise.
_MPS = Path("/tmp/nvidia-mps")


def check_jobs(jobs: int | str, number: int, what: str) -> None:
    """Refuses numbers of processes that make no sense; "auto" is none yet.

    Raises:
        SettingsError: there is not one, or more than there are tasks.

    >>> check_jobs(2, 5, "folds")
    """
    if jobs == AUTO:
        return
    if not (isinstance(jobs, int) and 1 <= jobs <= number):
        raise SettingsError(f"--jobs {jobs}: there are {number} {what}, so it must be from 1 to {number}")


def refuse_for_one(folder: Path, jobs: int | str, deadline: float | None, executor: str | None) -> None:
    """Refuses options that are for folds alone.

    Raises:
        SettingsError: one of them is given for one data set.
    """
    given = {
        f"--jobs {jobs}": jobs not in (1, AUTO),
        f"--deadline {deadline}": deadline is not None,
        f"--executor {executor}": executor is not None,
    }
    for text in (text for text, is_given in given.items() if is_given):
        option = text.partition(" ")[0]
        raise SettingsError(f"{text}: {folder} is one data set without folds: leave {option} out")


def share_of_cores(jobs: int) -> int:
    """Returns how many threads each of so many processes has: never more than the user allows one."""
    share, allowed = num_cores() // jobs, os.environ.get(_THREADS[0], "")
    return max(1, min(share, int(allowed)) if allowed.isdigit() else share)


def environment(jobs: int) -> dict[str, str]:
    """Returns the environment of each of so many processes; a single one has that of this process."""
    told = dict.fromkeys((*_THREADS, CORES), str(share_of_cores(jobs))) if jobs > 1 else {}
    return {**os.environ, **told}


def mps_runs() -> bool:
    """Returns whether NVIDIA's daemon lets processes use a GPU at the same time; we never start it."""
    return (Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", _MPS)) / "control").exists()


def told_of_gpu(jobs: int) -> str:
    """Returns a line on how so many processes share a GPU."""
    together = "its work runs together through NVIDIA's MPS daemon"
    mps = together if mps_runs() else "in turns: no MPS daemon runs"
    return f"{jobs} processes share the GPU, {mps}"
