"""The smaller files of a run folder, checked as they are read: metrics.jsonl and environment.json."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lmd.errors import CheckpointError
from lmd.fields import first_fault
from lmd.reading import UnreadableError, json_of, text_of
from lmd.settings import NonNegative, Tree

METRICS, ENVIRONMENT = "metrics.jsonl", "environment.json"
_Number = Annotated[float, Field(allow_inf_nan=False)]


class _Epoch(BaseModel):
    """A line of metrics.jsonl; what later versions add is let through."""

    model_config = ConfigDict(extra="allow")

    stage: str
    epoch: Annotated[int, Field(ge=0)]
    losses: dict[str, _Number]
    validation: dict[str, Any]
    seconds: NonNegative


def read_metrics(run: Path) -> list[Tree]:
    """Returns the records of a run's metrics.jsonl, one for each epoch.

    Raises:
        CheckpointError: the file is missing, or a line of it is damaged.
    """
    return [_epoch(run / METRICS, number, line) for number, line in enumerate(_lines(run / METRICS), 1)]


def _lines(path: Path) -> list[str]:
    try:
        return text_of(path).splitlines()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    except UnreadableError as error:
        raise CheckpointError(f"{path} is damaged: it {error}") from error


def _epoch(path: Path, number: int, line: str) -> Tree:
    """A record, as it was written, if it is one."""
    try:
        record = json_of(line)
        bacc = _Epoch.model_validate(record).validation.get("bacc")
        if bacc is not None and not isinstance(bacc, int | float):
            raise UnreadableError(f"has {type(bacc).__name__} as validation.bacc")
    except UnreadableError as error:
        raise CheckpointError(f"{path} is damaged: line {number} {error}") from error
    except ValidationError as error:
        raise CheckpointError(f"{path} is damaged: line {number}: {first_fault(error)}") from error
    return cast("Tree", record)


def read_environment(run: Path) -> Tree:
    """Returns what a run was made with; nothing where the file is gone: a report is of use without it.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = run / ENVIRONMENT
    if not path.is_file():
        return {}
    text = "\n".join(_lines(path))
    try:
        found = json_of(text)
    except UnreadableError as error:
        raise CheckpointError(f"{path} is damaged: it {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is damaged: it must give names their values")
    return cast("Tree", found)
