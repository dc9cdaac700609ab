"""What a person asks for, and the method and the settings that come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmd import methods
from lmd.data.dataset.manifest import Dataset
from lmd.planning.resolve import AUTO, settings_for
from lmd.run import RunFolder, read_identity
from lmd.settings import METHOD, CommonSettings, named_method, resolve


@dataclass(frozen=True)
class Asked:
    """The choices of a training; None, or nothing, is what is not chosen. A recipe may name its method."""

    method: str | None = None
    budget: str | None = None
    recipe: Path | None = None
    flags: Mapping[str, Any] = field(default_factory=dict[str, Any])
    overrides: Sequence[str] = ()

    @property
    def given(self) -> dict[str, Any]:
        """The flags that were given."""
        return {name: value for name, value in self.flags.items() if value is not None}

    @property
    def nothing(self) -> bool:
        """Whether nothing was chosen, so that a run goes on with its own settings."""
        return not (self.method or self.budget or self.recipe or self.given or self.overrides)


def choose(asked: Asked, dataset: Dataset | None = None) -> tuple[str, CommonSettings]:
    """Returns the method and the settings that the choices give.

    Without a data set there is no plan, and the budget that is not named is "paper".

    Raises:
        SettingsError: the recipe is for another method, or something is unknown or out of range.
        DataError: an image whose size is to be known cannot be read.
    """
    name, tree = named_method(asked.method, asked.recipe, METHOD)
    layers = (tree, asked.given, asked.overrides)
    if dataset is None:
        return name, methods.settings_of(name, asked.budget or "paper", *layers)
    return name, settings_for(name, dataset, asked.budget or AUTO, *layers)


def saved_choice(out: Path) -> tuple[str, CommonSettings]:
    """Returns the method and the settings of the run that is to go on.

    Raises:
        CheckpointError: there is no such run.
    """
    saved = read_identity(RunFolder(out))
    return saved["method"], resolve(methods.load(saved["method"]).Settings, saved["settings"])
