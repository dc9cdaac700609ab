"""How many processes fit on a machine, and the cores that each of them has."""

from __future__ import annotations

import os
from pathlib import Path

from lmd.errors import SettingsError
from lmd.parallel import CORES, num_cores

# What limits the threads of the libraries that compute.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def check_jobs(jobs: int, number: int, what: str) -> None:
    """Refuses numbers of processes that make no sense.

    Raises:
        SettingsError: there is not one, or more than there are tasks.

    >>> check_jobs(2, 5, "folds")
    """
    if not 1 <= jobs <= number:
        raise SettingsError(f"--jobs {jobs}: there are {number} {what}, so it must be from 1 to {number}")


def refuse_for_one(folder: Path, jobs: int, deadline: float | None) -> None:
    """Refuses options that are for folds alone.

    Raises:
        SettingsError: one of them is given for one data set.
    """
    if jobs != 1:
        raise SettingsError(f"--jobs {jobs}: {folder} is one data set without folds: leave --jobs out")
    if deadline is not None:
        raise SettingsError(
            f"--deadline {deadline:g}: {folder} is one data set without folds: leave --deadline out"
        )


def share_of_cores(jobs: int) -> int:
    """Returns how many threads each of so many processes has: never more than the user allows one."""
    share, allowed = num_cores() // jobs, os.environ.get(_THREADS[0], "")
    return max(1, min(share, int(allowed)) if allowed.isdigit() else share)


def environment(jobs: int) -> dict[str, str]:
    """Returns the environment of each of so many processes; a single one has that of this process."""
    told = dict.fromkeys((*_THREADS, CORES), str(share_of_cores(jobs))) if jobs > 1 else {}
    return {**os.environ, **told}
