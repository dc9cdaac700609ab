"""What a run costs in seconds, both stages, also where another run trained its first stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmd.experiments.runs import Run, sha256_of
from lmd.records import read_metrics
from lmd.run import read_identity

# By the folder of a run that took its first stage over: the run that trained it.
Sources = dict[Path, Run]


def seconds_of(run: Run, source: Run | None) -> float:
    """Returns the seconds of both stages: a first stage taken over counts with what it cost there."""
    spent = sum(record["seconds"] for record in _history(run))
    if source is None:
        return spent
    history = _history(source)
    first = history[0]["stage"]
    return spent + sum(record["seconds"] for record in history if record["stage"] == first)


def _history(run: Run) -> list[dict[str, Any]]:
    return read_metrics(run.folder.path)


def find_sources(runs: Sequence[Run]) -> Sources:
    """Returns the runs that trained the first stages which others took over; each file is read once."""
    began_with = {run.folder.path: read_identity(run.folder)["from_sha256"] for run in runs}
    if not any(began_with.values()):
        return {}
    trained: dict[tuple[str, str], Run] = {}
    for run in runs:
        if began_with[run.folder.path] is None:
            trained.setdefault((run.block, sha256_of(run.folder.stage1)), run)
    wanted = {run.folder.path: (run.block, began_with[run.folder.path]) for run in runs}
    return {path: trained[key] for path, key in wanted.items() if key in trained}
