"""How many trainings `--jobs auto` takes side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from lmd.planning import fitting
from lmd.planning.fitting import number_of

OUTLINE = cast("Any", None)


@pytest.mark.parametrize(
    ("cuda", "mps", "free", "wanted"),
    [
        (False, False, 100 * 2**30, 16),  # A core each.
        (False, False, 5 * 2**30, 3),  # What main memory holds.
        (True, True, 100 * 2**30, 16),
        (True, True, 8 * 2**30, 4),  # What the GPU's memory holds.
        (True, False, 100 * 2**30, 3),  # In turns more would gain nothing.
        (True, False, 2**30, 1),  # Never none.
    ],
)
def test_as_many_as_fit(
    cuda: bool, mps: bool, free: int, wanted: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fitting, "device_kind", lambda: "cuda" if cuda else "cpu")
    monkeypatch.setattr(fitting, "free_memory", lambda device: free)
    monkeypatch.setattr(fitting, "num_cores", lambda: 16)
    monkeypatch.setattr(fitting, "_memory_of", lambda outline: 2 * 2**30)
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    if mps:
        (tmp_path / "control").touch()
    assert number_of("auto", OUTLINE, 40) == wanted
    assert number_of(5, OUTLINE, 40) == 5
