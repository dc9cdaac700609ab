"""What stage 2 of LMD needs in memory, told before it starts."""

from __future__ import annotations

import numpy as np
import torch

from lmd.errors import SettingsError
from lmd.losses.virtual import cheaper_from_rows
from lmd.runtime import free_memory


def check_memory(
    counts: np.ndarray, channels: int, iterations: int, device: torch.device, matrices: str | None = None
) -> None:
    """Refuses what would not fit: up to K matrices of C x C, in double precision and as fp32 factors.

    The root of a small class has N_k rows, and N_k more for each of the `iterations` that are averaged; with
    C / 2 rows and more it is factorised (`VirtualFeatures`). `matrices` names the setting, if there is one,
    that makes a full matrix of every class.

    Raises:
        SettingsError: with the memory needed, the memory there is, and the way out.
    """
    rows = np.minimum(counts * max(iterations, 1), channels)
    factored = ~cheaper_from_rows(rows, channels) | (matrices is not None)
    needed = float(8 * np.where(factored, channels, rows).sum() + 16 * rows.sum()) * channels
    free = free_memory(device)
    if free is not None and needed > free:
        raise SettingsError(
            f"stage 2 needs about {needed / 1e9:.3g} GB for the covariances of {len(counts)} classes with "
            f"{channels} channels, {free / 1e9:.3g} GB are free: {_way_out(matrices)}, so that "
            "small classes keep small covariances, or take an encoder with fewer channels"
        )


def full_matrices(covariance: str, distance: str) -> str | None:
    """Returns the setting that makes a C x C matrix of every class, however few images it has; None: none."""
    if covariance == "pooled":
        return "statistics.covariance"
    return "e_step.distance" if distance == "covariance_literal" else None


def _way_out(matrices: str | None) -> str:
    return "set 'statistics.decay' to 0" if matrices is None else f"choose another '{matrices}'"
