"""What is asked of a search, and what is searched of each method, checked before anything is trained."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmd import methods
from lmd.data.dataset.folds_folder import Folds
from lmd.data.dataset.manifest import Dataset
from lmd.errors import SettingsError
from lmd.evaluation.pairs.comparison import TauRule
from lmd.fields import as_overrides
from lmd.folds.either import choose_either
from lmd.planning.choice import Asked
from lmd.settings import CommonSettings, Tree
from lmd.training.start import check_fresh
from lmd.tuning.space import Choice, Range, Value, read_space, settled
from lmd.tuning.spaces import space_of

TRIALS = "trials"


@dataclass(frozen=True)
class Request:
    """What is asked of a search; the choices of a training are those of `lmd train`."""

    methods: Sequence[str]
    trials: int
    out: Path
    seed: int = 42
    budget: str | None = None
    recipe: Path | None = None
    overrides: Sequence[str] = ()
    flags: Tree = field(default_factory=dict[str, Any])
    space: Path | None = None
    tau: TauRule = "0"
    allow_code: bool = False


@dataclass(frozen=True)
class Part:
    """The search of one method: what is chosen for all trials, and what is searched."""

    method: str
    asked: Asked
    space: dict[str, Range | Choice]
    identity: Tree

    @property
    def slug(self) -> str:
        """The name of its folder and of its recipe."""
        return Path(self.method).stem if self.method.endswith(".py") else self.method

    def folder(self, out: Path, number: int) -> Path:
        """Returns the run folder of a trial, which are counted from 0."""
        return out / TRIALS / self.slug / f"{number + 1:03d}"

    def settings(self, data: Dataset | Folds, place: Path, values: dict[str, Value]) -> CommonSettings:
        """Returns the settings of a trial."""
        asked = self.asked
        overrides = [*asked.overrides, *as_overrides(values)]
        both = Asked(asked.method, asked.budget, asked.recipe, asked.flags, overrides, asked.allow_code)
        return choose_either(both, data, place, resume=False)[1]


def parts_of(data: Dataset | Folds, request: Request) -> list[Part]:
    """Returns what is searched of each method, after checking both ends of each range.

    Raises:
        SettingsError: a method, a setting or a value is unknown or out of range.
    """
    if request.trials < 1:
        raise SettingsError(f"trials = {request.trials} must be at least 1")
    twice = [name for name in request.methods if list(request.methods).count(name) > 1]
    if twice or not request.methods:
        raise SettingsError(f"method '{twice[0]}' is named twice" if twice else "name a method to search")
    return [_part(data, request, name) for name in request.methods]


def _part(data: Dataset | Folds, request: Request, name: str) -> Part:
    rule: list[str] = [] if request.tau == "own" else [f"tau={request.tau}"]
    if rule and any(text.partition("=")[0] == "tau" for text in request.overrides):
        raise SettingsError(f"--set tau and --tau {request.tau} are two rules: take --tau own with --set tau")
    asked = Asked(
        name, request.budget, request.recipe, {"seed": request.seed, **request.flags},
        [*request.overrides, *rule], request.allow_code,
    )  # fmt: skip
    _, base = choose_either(asked, data, request.out, resume=False)
    whose = f"the space of {name}" if request.space is None else str(request.space)
    wanted = (
        space_of(name, methods.load(name, allow_code=True))
        if request.space is None
        else read_space(request.space)
    )
    space = settled(wanted, base, whose)
    check_fresh(base)
    part = Part(name, asked, space, _identity(data, request, name, base, space))
    for place in (0, -1):
        _check_end(data, part, place, whose)
    return part


def _check_end(data: Dataset | Folds, part: Part, place: int, whose: str) -> None:
    ends = {
        name: one.values[place] if isinstance(one, Choice) else (one.low, one.high)[place]
        for name, one in part.space.items()
    }
    try:
        part.settings(data, Path(), ends)
    except SettingsError as error:
        raise SettingsError(f"{whose}: {error}") from error


def _identity(
    data: Dataset | Folds, request: Request, name: str, base: CommonSettings, space: dict[str, Range | Choice]
) -> Tree:
    """What must be the same for a search to go on: all but the number of trials."""
    manifests = (
        list(data.info.manifests_sha256.values()) if isinstance(data, Folds) else [data.info.manifest_sha256]
    )
    return {
        "method": name,
        "seed": request.seed,
        "tau": request.tau,
        "data": hashlib.sha256("".join(manifests).encode()).hexdigest()[:16],
        "settings": base.model_dump(mode="json"),
        "space": {key: repr(part) for key, part in space.items()},
    }
