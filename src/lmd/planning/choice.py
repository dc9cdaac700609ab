"""What a person asks for, and the method and the settings that come of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, cast

from lmd import methods
from lmd.data.dataset.manifest import Dataset
from lmd.fields import leaf_values
from lmd.planning.resolve import AUTO, settings_for
from lmd.recipe import file_not_allowed, named_method
from lmd.settings import METHOD, CommonSettings, Tree, merge, parse_override, resolve

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """The choices of a training; None, or nothing, is what is not chosen. A recipe may name its method."""

    method: str | None = None
    budget: str | None = None
    recipe: Path | None = None
    flags: Mapping[str, Any] = field(default_factory=dict[str, Any])
    overrides: Sequence[str] = ()
    allow_code: bool = False  # Whether a method's file may run that a recipe or a run folder names.

    @property
    def given(self) -> dict[str, Any]:
        """The flags that were given."""
        return {name: value for name, value in self.flags.items() if value is not None}

    def nothing_but(self, method: str) -> bool:
        """Whether nothing was chosen, or this method alone: a run of it goes on with its own settings."""
        return self.method in (None, method) and not (
            self.budget or self.recipe or self.given or self.overrides
        )


# What a budget has laid over the defaults since version 0.3: a run that was begun before it keeps its own.
_LATELY = ("select", "tau", "calibration", "adjustment")


def choose(
    asked: Asked, dataset: Dataset | None = None, begun: Mapping[str, Any] | None = None
) -> tuple[str, CommonSettings]:
    """Returns the method and the settings that the choices give; `begun` are those of a run to go on with.

    A file that `method` names is run; one that only the recipe names is run with `allow_code`. Without a
    data set there is no plan, and the budget that is not named is "paper".

    Raises:
        SettingsError: the recipe is for another method, or something is unknown or out of range.
        DataError: an image whose size is to be known cannot be read.
    """
    name, tree = named_method(asked.method, asked.recipe, METHOD, asked.allow_code)
    methods.load(name, allow_code=True)
    layers = (_kept(begun or {}) | tree, asked.given, asked.overrides)
    if dataset is None:
        settings = methods.settings_of(name, asked.budget or "paper", *layers)
    else:
        settings = settings_for(name, dataset, asked.budget or AUTO, *layers)
    _tell_idle(settings, asked)
    return name, settings


def _tell_idle(settings: CommonSettings, asked: Asked) -> None:
    """Says which settings that were asked for have no effect, because another leaves out what they are of."""
    tree = reduce(merge, (asked.given, *map(parse_override, asked.overrides)), cast("Tree", {}))
    given = [f"{name}." for name, _ in leaf_values(tree)]
    for why, names in settings.idle().items():
        prefixes = tuple(f"{name}." for name in names)
        if idle := [name[:-1] for name in given if name.startswith(prefixes)]:
            _log.warning("no effect with %s: %s", why, ", ".join(idle))


def _kept(begun: Mapping[str, Any]) -> Tree:
    """What a begun run keeps that nothing but a budget would change."""
    without = begun.get("calibration", "none") == "none"
    return {name: begun[name] for name in _LATELY if name in begun} if without else {}


def going_on(
    asked: Asked, dataset: Dataset, out: Path, method: str, saved: Tree
) -> tuple[str, CommonSettings]:
    """Returns the method and the settings with which a begun run goes on: its own, where no others are asked.

    Raises:
        SettingsError: it is a run of a method's file that nobody allowed to run; or as `choose`.
    """
    if not asked.nothing_but(method):
        return choose(asked, dataset, saved)
    allowed = asked.allow_code or asked.method == method
    if method.endswith(".py") and not allowed:
        raise file_not_allowed(f"{out} is a run of the method file {method}", method)
    return method, resolve(methods.load(method, allowed).Settings, saved)
