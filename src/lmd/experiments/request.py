"""What was asked of an experiment, checked as a whole before anything is written or trained."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lmd import methods
from lmd.data.dataset.manifest import Dataset
from lmd.errors import SettingsError, suggest
from lmd.experiments import load
from lmd.experiments.base import Experiment, Row
from lmd.experiments.given import Given, find_data
from lmd.fields import as_overrides, leaf_values
from lmd.jobs import AUTO, check_deadline, check_executor
from lmd.settings import parse_override

FIRST_SEED = 42
RULES = ("0", "own", "validation")  # How far all rows shift their decisions (`rule`).


@dataclass(frozen=True)
class Request:
    """The options of `lmd reproduce`; `overrides` are `name=value`, `data` folders or `block=folder`."""

    name: str
    data: Sequence[str]
    out: Path
    seeds: int = 3
    methods: str | None = None
    budget: str = "paper"
    weights: str | None = None
    partial_weights: bool = False
    overrides: Sequence[str] = ()
    allow_code: bool = False
    jobs: int | Literal["auto"] = 1
    tau: str = "0"
    deadline: float | None = None
    """the seconds after which nothing runs any more, counted from when this was asked for"""
    executor: str | None = None
    """where runs are trained: on this machine, or through an executor of submitit"""
    slurm: Sequence[str] = ()
    begun: float = field(default_factory=time.monotonic, compare=False)

    @property
    def beside(self) -> bool:
        """Whether runs are trained in processes of their own."""
        return self.jobs != 1 or self.deadline is not None or self.executor is not None


def asked(name: str, data: Any, out: Path, options: Mapping[str, Any]) -> Request:
    """Returns the request that the arguments of `lmd.reproduce` make.

    Raises:
        SettingsError: there is no such option.
    """
    known = (
        "seeds",
        "methods",
        "budget",
        "weights",
        "partial_weights",
        "settings",
        "allow_code",
        "jobs",
        "tau",
        "deadline",
        "executor",
        "slurm",
    )
    for option in options:
        if option not in known:
            raise SettingsError(f"unknown option '{option}'{suggest(option, known)}")
    given: dict[str, Any] = dict(options)
    if "tau" in given:
        given["tau"] = str(given["tau"])
    overrides = as_overrides(given.pop("settings", ()))
    if not isinstance(given.get("methods"), str | None):
        given["methods"] = ",".join(map(str, given["methods"]))
    several = [data] if isinstance(data, str | Path | Dataset) else list(data)
    folders = [str(one.folder if isinstance(one, Dataset) else one) for one in several]
    return Request(name, folders, out, overrides=overrides, **given)


@dataclass(frozen=True)
class Job:
    """A request whose parts have all been found: nothing in it is unknown."""

    request: Request
    experiment: Experiment
    data: dict[str, Given]  # By block.
    rows: tuple[Row, ...]  # All that the table has,
    chosen: tuple[Row, ...]  # and those to train.

    @property
    def seeds(self) -> list[int]:
        """The seeds of each row."""
        return [FIRST_SEED + number for number in range(self.request.seeds)]


def check(request: Request) -> Job:
    """Returns the job that a request describes.

    Raises:
        SettingsError, DataError: one line on what is wrong.
    """
    experiment = load(request.name)
    if request.seeds < 1:
        raise SettingsError(f"--seeds {request.seeds}: at least one seed is needed")
    if request.jobs != AUTO and request.jobs < 1:
        raise SettingsError(f"--jobs {request.jobs}: at least one process is needed")
    check_deadline(request.deadline)
    check_executor(request.executor, request.slurm, request.jobs)
    if request.budget not in methods.BUDGETS:
        raise SettingsError(f"unknown budget '{request.budget}'{suggest(request.budget, methods.BUDGETS)}")
    if request.tau not in RULES:
        raise SettingsError(f"--tau {request.tau}: must be one of {', '.join(RULES)}")
    default = experiment.rows_of(request.budget)
    chosen = default if request.methods is None else _choose(experiment, default, request)
    _check_overrides(default, request.overrides, experiment.name)
    data = find_data(experiment, request.data)
    _check_validation(data, request.tau)
    added = tuple(row for row in chosen if row not in default)
    return Job(request, experiment, data, (*default, *added), chosen)


def _check_validation(data: Mapping[str, Given], tau: str) -> None:
    """Refuses to choose tau where a data set has no validation images."""
    lacking = [
        part for given in data.values() for part in given.parts.values() if not part.counts("val").any()
    ]
    if tau == "validation" and lacking:
        raise SettingsError(
            f"--tau validation: {lacking[0].folder} has no validation image to choose it by; take --tau 0"
        )


def _choose(experiment: Experiment, default: tuple[Row, ...], request: Request) -> tuple[Row, ...]:
    """The rows that --methods names: by their own name or, where the table is open, any method."""
    text = request.methods or ""
    rows = {row.key: row for row in default}
    chosen: dict[str, Row] = {}
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name in rows:
            chosen[name] = rows[name]
            continue
        known = {*rows, *(methods.names() if experiment.open_rows else ())}
        if not experiment.open_rows or (name not in known and not name.endswith(".py")):
            raise SettingsError(f"--methods: {experiment.name} has no '{name}'{suggest(name, known)}")
        methods.load(name, request.allow_code)
        key = Path(name).stem if name.endswith(".py") else name
        if key in rows or key in chosen:
            raise SettingsError(f"--methods: '{name}' would be a second row '{key}'; rename the file")
        chosen[key] = Row(key, key, name, kind="asked")
    if not chosen:
        raise SettingsError(f"--methods '{text}' names no method; known: {', '.join(rows)}")
    return tuple(chosen.values())


def _check_overrides(rows: tuple[Row, ...], overrides: Sequence[str], name: str) -> None:
    """Refuses to set what the rows differ in, or what has an option of its own."""
    varied = {leaf for row in rows for leaf, _ in leaf_values(row.settings)}
    options = {
        "seed": "--seeds",
        "tau": "--tau",
        "weights": "--weights",
        "partial_weights": "--partial-weights",
    }
    for override in overrides:
        named = [leaf for leaf, _ in leaf_values(parse_override(override))]
        if not named:
            raise SettingsError(f"--set {override}: it sets nothing")
        for setting in named:
            if setting in options:
                raise SettingsError(f"--set {setting}: use {options[setting]}")
            clash = [leaf for leaf in varied if f"{leaf}.".startswith(f"{setting}.")]
            if clash:
                raise SettingsError(f"--set {setting}: {name} itself sets {clash[0]} for some of its rows")
